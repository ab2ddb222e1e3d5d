//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"strings"
)

// pauseImage holds the namespaces of a pod, and is not looked for anywhere else.
const pauseImage = "wechattoken.io/pause:node"

// load puts the images of tar files where the kubelet finds them.
func (n node) load(files ...string) error {
	for _, file := range files {
		out, err := n.ctr("--namespace", "k8s.io", "images", "import", file).CombinedOutput()
		if err != nil {
			return fmt.Errorf("load %s: %w: %s", file, err, strings.TrimSpace(string(out)))
		}
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "unpacking ") {
				sayf("%s", strings.TrimSpace(line))
			}
		}
	}
	return nil
}

// ctr is the client of the node's containerd.
func (n node) ctr(args ...string) *exec.Cmd {
	return exec.Command("ctr", append([]string{"--address", n.socket()}, args...)...)
}
