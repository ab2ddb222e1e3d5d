package testcluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// envtest does not tell the pid of kube-apiserver. So it runs a script that
// writes its pid down and becomes kube-apiserver.
const keepPID = `#!/bin/sh
echo $$ >'%s'
exec '%s' "$@"
`

// keepPID makes envtest start kube-apiserver by the script, with certificates
// that outlive it: who trusts one trusts its successor.
func (c *Cluster) keepPID(assets string) error {
	server := c.env.ControlPlane.GetAPIServer()
	server.Path = filepath.Join(c.dir, "kube-apiserver")
	server.CertDir = filepath.Join(c.dir, "certs")
	script := fmt.Sprintf(keepPID, c.pidFile(), filepath.Join(assets, "kube-apiserver"))
	return errors.Join(
		os.Mkdir(server.CertDir, 0o700),
		os.WriteFile(server.Path, []byte(script), 0o700),
	)
}

func (c *Cluster) pidFile() string { return filepath.Join(c.dir, "kube-apiserver.pid") }

// SignalAPIServer sends a signal to kube-apiserver, such as SIGSTOP.
func (c *Cluster) SignalAPIServer(s syscall.Signal) error {
	text, err := os.ReadFile(c.pidFile())
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	return syscall.Kill(pid, s)
}

// KillAPIServer ends kube-apiserver as a crash does, and waits until it is gone.
// etcd goes on.
func (c *Cluster) KillAPIServer() error {
	if err := c.SignalAPIServer(syscall.SIGKILL); err != nil {
		return err
	}
	for c.SignalAPIServer(0) == nil {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// SetAPIServerFlag sets a flag of kube-apiserver, such as
// encryption-provider-config, from its next start on.
func (c *Cluster) SetAPIServerFlag(name, value string) {
	c.env.ControlPlane.GetAPIServer().Configure().Set(name, value)
}

// StartAPIServer starts kube-apiserver again after KillAPIServer, where it was
// and with all that etcd holds, and waits until it answers.
func (c *Cluster) StartAPIServer() error { return c.env.ControlPlane.GetAPIServer().Start() }
