package kernels

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// disk is a filesystem that a machine gets as a disk, made here so that the
// guest needs no tools for it. Features that Linux 5.10 does not know are off.
type disk struct {
	size int64
	mkfs []string
}

// disks are in the order in which tests/kernels/init mounts them.
var disks = []disk{
	{256 << 20, []string{"mkfs.ext4", "-q", "-F", "-O", "^orphan_file,^metadata_csum_seed"}},
	{320 << 20, []string{"mkfs.xfs", "-q", "-f", "-i", "nrext64=0"}},
	{256 << 20, []string{"mkfs.btrfs", "-q", "-f"}},
}

func (d disk) make(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := f.Truncate(d.size); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	cmd := exec.Command(d.mkfs[0], append(d.mkfs[1:len(d.mkfs):len(d.mkfs)], path)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// boot runs a machine until it turns itself off. dir gets its disks, console
// (what the kernel says) and results (what init says).
func boot(ctx context.Context, kernel, initrd, dir string, disks []disk) error {
	// One thread for both processors: with two, one of them can meet a breakpoint
	// that the other has taken back (the kernel patches its own code for
	// tracepoints), and 7.2 then stops with "Oops: int3".
	args := []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "1024",
		"-kernel", kernel, "-initrd", initrd,
		// A panic ends the machine. The timer is not checked: where the machine that
		// emulates has other work, too few ticks come in that time.
		"-append", "console=ttyS0 panic=-1 quiet loglevel=4 mitigations=off no_timer_check",
		"-serial", "file:" + filepath.Join(dir, "console"),
		"-serial", "file:" + filepath.Join(dir, "results"),
	}
	for i, d := range disks {
		path := filepath.Join(dir, fmt.Sprintf("disk%d", i))
		if err := d.make(path); err != nil {
			return err
		}
		args = append(args, "-drive", "format=raw,if=virtio,cache=unsafe,file="+path)
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("qemu: %w\n%s", err, out)
	}
	return nil
}
