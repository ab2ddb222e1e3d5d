package testcluster

import (
	"fmt"
	"os/exec"
)

// BuildCommands builds programs of cmd, such as "manager", into a folder, with the
// versions of the operator's own module, whichever module the test is of.
func BuildCommands(dir string, names ...string) error {
	args := []string{"build", "-C", projectRoot(), "-o", dir + "/"}
	for _, name := range names {
		args = append(args, "./cmd/"+name)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %q: %w\n%s", names, err, out)
	}
	return nil
}
