package testcluster

import (
	"fmt"
	"os/exec"
	"strings"
)

// Build builds programs, such as "./consumer", into a folder, with the folder of the
// calling test as the working directory and the versions of its module.
func Build(dir string, packages ...string) error { return build(".", dir, packages) }

// BuildCommands builds programs of cmd, such as "manager", into a folder, with the
// versions of the operator's own module, whichever module the test is of.
func BuildCommands(dir string, names ...string) error {
	var packages []string
	for _, name := range names {
		packages = append(packages, "./cmd/"+name)
	}
	return build(projectRoot(), dir, packages)
}

func build(from, dir string, packages []string) error {
	out, err := exec.Command("go", append([]string{"build", "-C", from, "-o", dir + "/"}, packages...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", strings.Join(packages, " "), err, out)
	}
	return nil
}
