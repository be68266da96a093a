package main

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"fanrec"
)

// runAs makes the command run as a user: uid, gid, groups and HOME, USER,
// LOGNAME in the environment.
func runAs(c *fanrec.Command, name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return fmt.Errorf("--user %s: no such user", name)
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return fmt.Errorf("--user %s: uid %s is not a number", name, u.Uid)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return fmt.Errorf("--user %s: gid %s is not a number", name, u.Gid)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("--user %s: list its groups: %w", name, err)
	}
	groups := make([]uint32, 0, len(ids))
	for _, id := range ids {
		g, err := strconv.ParseUint(id, 10, 32)
		if err != nil {
			return fmt.Errorf("--user %s: group %s is not a number", name, id)
		}
		groups = append(groups, uint32(g))
	}
	c.As = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: groups}
	c.Env = withEnv(os.Environ(), "HOME="+u.HomeDir, "USER="+u.Username, "LOGNAME="+u.Username)
	return nil
}

// withEnv returns the environment with some variables set.
func withEnv(env []string, set ...string) []string {
	out := make([]string, 0, len(env)+len(set))
next:
	for _, e := range env {
		for _, s := range set {
			if name, _, _ := strings.Cut(s, "="); strings.HasPrefix(e, name+"=") {
				continue next
			}
		}
		out = append(out, e)
	}
	return append(out, set...)
}
