package service

import (
	"fmt"
	"os"

	"fanrec/output/logfile"

	"golang.org/x/sys/unix"
)

// spoolBytes is how much of one log may wait for who reads it.
const spoolBytes = 8 << 20

// prompt are the filesystems, by their magic numbers, where a write takes no
// longer than the machine does; slow those where it takes as long as somebody
// else likes. Nothing is written to a file of any other: writing to what the
// kernel makes up is an order, and would be given with the service's rights.
var (
	prompt = map[int64]bool{
		unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.TMPFS_MAGIC: true,
		unix.OVERLAYFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true, unix.RAMFS_MAGIC: true, unix.MSDOS_SUPER_MAGIC: true,
		unix.EXFAT_SUPER_MAGIC: true, unix.NILFS_SUPER_MAGIC: true, unix.REISERFS_SUPER_MAGIC: true,
		0xca451a4e:/* bcachefs */ true, 0x2fc12fc1: /* zfs */ true, 0x3153464a: /* jfs */ true, 0x7366746e: /* ntfs3 */ true,
	}
	slow = map[int64]bool{
		unix.NFS_SUPER_MAGIC: true, unix.FUSE_SUPER_MAGIC: true, unix.CIFS_SUPER_MAGIC: true, unix.SMB2_SUPER_MAGIC: true,
		unix.V9FS_MAGIC: true, unix.CEPH_SUPER_MAGIC: true, unix.AFS_SUPER_MAGIC: true, 0x0bd00bd0: /* lustre */ true,
	}
)

// acceptLog checks that a client's descriptor may be written to as a log.
// Errors wrap unix.EBADF or unix.EINVAL.
func acceptLog(f *os.File, who Client) (*logfile.File, error) {
	var st unix.Stat_t
	var fs unix.Statfs_t
	flags := 0
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var errs [3]error
	var between bool
	if err := raw.Control(func(fd uintptr) {
		flags, errs[0] = unix.FcntlInt(fd, unix.F_GETFL, 0)
		errs[1], errs[2] = unix.Fstat(int(fd), &st), unix.Fstatfs(int(fd), &fs)
		between = who.between(int(fd))
	}); err != nil {
		return nil, err
	}
	switch {
	case errs[0] != nil:
		return nil, fmt.Errorf("look at the log: %w", errs[0])
	case flags&unix.O_PATH != 0 || flags&unix.O_ACCMODE == unix.O_RDONLY:
		return nil, fmt.Errorf("the log is not open for writing: %w", unix.EBADF)
	case errs[1] != nil:
		return nil, fmt.Errorf("look at the log: %w", errs[1])
	}
	kind := st.Mode & unix.S_IFMT
	if st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 && kind == unix.S_IFREG {
		// They would stay: who writes has the rights to it.
		return nil, fmt.Errorf("the log has a set-user-ID or set-group-ID bit: %w", unix.EINVAL)
	}
	magic := int64(uint32(fs.Type))
	l := logfile.NewFile(f)
	switch {
	case kind == unix.S_IFSOCK && !between:
		return nil, fmt.Errorf("the log is a socket whose other end is not the client's own: %w", unix.EINVAL)
	case kind == unix.S_IFIFO, kind == unix.S_IFSOCK:
		l.Spool(spoolBytes)
	case kind != unix.S_IFREG:
		return nil, fmt.Errorf("the log is neither a file nor a pipe nor a socket: %w", unix.EINVAL)
	case errs[2] == nil && slow[magic], flags&(unix.O_SYNC|unix.O_DSYNC|unix.O_DIRECT) != 0 && prompt[magic]:
		l.Spool(spoolBytes)
	case errs[2] != nil || !prompt[magic]:
		return nil, fmt.Errorf("the log is on a filesystem (%#x) that is not for files: %w", magic, unix.EINVAL)
	}
	return l, nil
}

// between tells whether a socket leads from the client to the client. Who reads
// from a Unix socket may learn who wrote, and do what root says.
func (c Client) between(socket int) bool {
	domain, err := unix.GetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return false
	}
	if c.privileged() || domain == unix.AF_INET || domain == unix.AF_INET6 {
		return true
	}
	peer, err := unix.GetsockoptUcred(socket, unix.SOL_SOCKET, unix.SO_PEERCRED)
	return domain == unix.AF_UNIX && err == nil && peer.Pid != 0 && peer.Uid == c.UID
}
