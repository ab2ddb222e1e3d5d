//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// up brings the node up and waits until it is ready for pods.
func (n node) up(ctx context.Context) error {
	pid, err := n.pid()
	if err != nil {
		return err
	}
	if pid != 0 {
		sayf("it is up already, as process %d. Its kubeconfig is %s", pid, n.kubeconfig("admin"))
		return nil
	}
	if n.programs, err = filepath.Abs(n.programs); err != nil {
		return err
	}
	if err := n.check(); err != nil {
		return err
	}
	sayf("everything is written to %s", n.dir)
	if err := n.down(); err != nil { // what one that was killed has left
		return err
	}
	for _, dir := range []string{"logs", "pids", "cni"} {
		if err := os.MkdirAll(n.path(dir), 0o700); err != nil {
			return err
		}
	}
	if err := errors.Join(n.makeMountpoints(), n.writePKI(), n.writeConfigs()); err != nil {
		return err
	}
	if err := n.start(); err != nil {
		return errors.Join(err, n.down())
	}
	if err := n.ready(ctx); err != nil {
		return fmt.Errorf("%w. The logs are in %s; `make node-down` removes everything", err, n.path("logs"))
	}
	sayf("it is ready: export KUBECONFIG=%s", n.kubeconfig("admin"))
	return nil
}

// makeMountpoints makes the folders that the node mounts something over, and
// notes which were not there.
func (n node) makeMountpoints() error {
	var made []string
	for _, dir := range private {
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		made = append(made, dir)
	}
	return os.WriteFile(n.path("made"), []byte(strings.Join(made, "\n")), 0o600)
}

// check says what this machine lacks.
func (n node) check() error {
	if os.Geteuid() != 0 {
		return errors.New("only root can bring up a node: it makes namespaces, mounts and network links")
	}
	for command, pkg := range map[string]string{"containerd": "containerd", "ctr": "containerd", "runc": "runc", "ip": "iproute2", "nft": "nftables", "nsenter": "util-linux"} {
		if _, err := exec.LookPath(command); err != nil {
			return fmt.Errorf("there is no %s here: install the package %s (`make node` does so on Debian)", command, pkg)
		}
	}
	for _, plugin := range []string{"ptp", "portmap", "host-local", "loopback"} {
		if _, err := os.Stat(filepath.Join(cniPlugins, plugin)); err != nil {
			return fmt.Errorf("there is no CNI plugin %s in %s: install the package containernetworking-plugins (`make node` does so on Debian)", plugin, cniPlugins)
		}
	}
	for _, s := range n.services() {
		if _, err := exec.LookPath(s.args[0]); err != nil {
			return fmt.Errorf("there is no %s: `hack/controlplane/build.sh` and `hack/controlplane/build.sh node` build it", s.args[0])
		}
	}
	return nil
}

// start starts the first process of the node in namespaces of its own, links them
// to this machine, and lets it go on.
func (n node) start() error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	defer write.Close()
	log, err := os.Create(n.logFile("init"))
	if err != nil {
		return err
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, initCommand)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{read}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // Ctrl-C is for us
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make namespaces for the node: %w", err)
	}
	started, err := startTime(cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.path("pid"), fmt.Appendf(nil, "%d %s\n", cmd.Process.Pid, started), 0o600); err != nil {
		return err
	}
	if err := connect(cmd.Process.Pid); err != nil {
		return err
	}
	return json.NewEncoder(write).Encode(first{Dir: n.dir, Programs: n.programs})
}

// connect links the network namespace of a process with this machine's.
func connect(pid int) error {
	inside := fmt.Sprintf("nsenter --target %d --net ", pid)
	for _, command := range []string{
		fmt.Sprintf("ip link add %s type veth peer name eth0 netns %d", link, pid),
		fmt.Sprintf("ip address add %s%s dev %s", hostIP, linkPrefix, link),
		"ip link set " + link + " up",
		inside + "ip link set lo up",
		inside + fmt.Sprintf("ip address add %s%s dev eth0", nodeIP, linkPrefix),
		inside + "ip link set eth0 up",
		inside + "ip route add default via " + hostIP, // programs look for one to find their own address
	} {
		if err := run(command); err != nil {
			return err
		}
	}
	return nil
}

// run runs a command without quotes in it.
func run(command string) error {
	args := strings.Fields(command)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// patience bounds the wait for each step of the node's start; some seconds are
// usual.
const patience = 3 * time.Minute

// ready waits until the node takes pods.
func (n node) ready(ctx context.Context) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", n.kubeconfig("admin"))
	if err != nil {
		return err
	}
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	if err := await(ctx, "kube-apiserver answers", func(ctx context.Context) error {
		return clients.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}); err != nil {
		return err
	}
	if err := await(ctx, "containerd answers", func(context.Context) error {
		return n.ctr("version").Run()
	}); err != nil {
		return err
	}
	return await(ctx, "the node is ready and ServiceAccounts are there", func(ctx context.Context) error {
		if _, err := clients.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{}); err != nil {
			return err
		}
		found, err := clients.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range found.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return errors.New("it is not ready")
	})
}

// await tries until it works, and tells that it goes on.
func await(ctx context.Context, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	start := time.Now()
	told := start
	for {
		attempt, done := context.WithTimeout(ctx, 5*time.Second)
		err := try(attempt)
		done()
		if err == nil {
			sayf("%s, after %.1f s", what, time.Since(start).Seconds())
			return nil
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			sayf("waiting until %s, %.0f s so far: %v", what, time.Since(start).Seconds(), err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
