// Package rights tells which capabilities to drop, for tests of programs that have few.
package rights

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Others returns every capability that this process may give on but those of keep, with
// commas between them, as capsh --drop wants them. Names are as in CAP_SYS_ADMIN.
func Others(keep []string) (string, error) {
	out, err := exec.Command("capsh", "--print").Output()
	if err != nil {
		return "", fmt.Errorf("capsh --print: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		set, ok := strings.CutPrefix(line, "Bounding set =")
		if !ok {
			continue
		}
		all := strings.Split(strings.TrimSpace(set), ",")
		return strings.Join(slices.DeleteFunc(all, func(name string) bool {
			return slices.ContainsFunc(keep, func(k string) bool { return strings.EqualFold(k, name) })
		}), ","), nil
	}
	return "", fmt.Errorf("capsh --print names no bounding set: %s", out)
}
