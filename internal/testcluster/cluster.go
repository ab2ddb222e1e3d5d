// Package testcluster is what tests, demo, bench and chaos run against: a real etcd
// and kube-apiserver with the CRD installed, namespaces there, the programs of cmd as
// processes, and a fake WeChat. The programs of Kubernetes come from `make
// controlplane`, or from $KUBEBUILDER_ASSETS where that is set.
package testcluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// A Cluster listens on loopback and keeps its data in a temporary folder.
type Cluster struct {
	// Config is that of an administrator, without a throttle.
	Config *rest.Config
	// Kubeconfig is the path of a file with the same.
	Kubeconfig string
	// EtcdURL is where etcd listens, without authentication.
	EtcdURL string

	env   *envtest.Environment
	users *sync.Mutex // a copy of a Cluster with another Kubeconfig shares it
	dir   string
}

// Start starts a control plane and waits until it answers, some 5 s. Stop it in
// the end: it does not end with this process.
func Start() (*Cluster, error) {
	return start(func(*Cluster) error { return nil })
}

// start configures a control plane, and starts it: twice if need be, for envtest waits
// only 5 s for the first namespace, and a machine may be busy.
func start(configure func(*Cluster) error) (*Cluster, error) {
	c, err := startOnce(configure)
	if err != nil && strings.Contains(err.Error(), "didn't register within deadline") {
		return startOnce(configure)
	}
	return c, err
}

func startOnce(configure func(*Cluster) error) (*Cluster, error) {
	root := projectRoot()
	assets := filepath.Join(root, "bin", "controlplane")
	if set := os.Getenv("KUBEBUILDER_ASSETS"); set != "" {
		assets = set
	}
	for _, program := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if _, err := os.Stat(filepath.Join(assets, program)); err != nil {
			return nil, fmt.Errorf("there is no %s in %s: run `make controlplane`, or set KUBEBUILDER_ASSETS", program, assets)
		}
	}
	dir, err := os.MkdirTemp("", "wechattoken-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, users: &sync.Mutex{}, Kubeconfig: filepath.Join(dir, "kubeconfig"), env: &envtest.Environment{
		BinaryAssetsDirectory:    assets,
		CRDDirectoryPaths:        []string{filepath.Join(root, "config", "crd")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 2 * time.Minute, // shared machines are slow at times
	}}
	if err := errors.Join(c.keepPID(assets), configure(c)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	// By default etcd takes 2 GB; hack/bench wants more.
	c.env.ControlPlane.Etcd = &envtest.Etcd{}
	c.env.ControlPlane.Etcd.Configure().Set("quota-backend-bytes", strconv.Itoa(8<<30))
	// Otherwise kube-apiserver takes a minute to end while a watch is open.
	c.env.ControlPlane.GetAPIServer().Configure().Set("shutdown-watch-termination-grace-period", "1s")
	if c.Config, err = c.env.Start(); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	c.EtcdURL = c.env.ControlPlane.Etcd.URL.String()
	c.Config.QPS = -1
	if err := os.WriteFile(c.Kubeconfig, c.env.KubeConfig, 0o600); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// Stop ends both processes and removes their data.
func (c *Cluster) Stop() error {
	_ = c.SignalAPIServer(syscall.SIGCONT) // one that is paused does not end
	return errors.Join(c.env.Stop(), os.RemoveAll(c.dir))
}

// Kubectl is a kubectl command against this control plane, for no plugin: flags stand
// first. It waits 5 minutes for an answer. By itself kubectl waits 32 s for what it
// validates a manifest with, which is not enough where tests share few cores.
func (c *Cluster) Kubectl(args ...string) *exec.Cmd {
	cmd := exec.Command(c.env.ControlPlane.KubectlPath, append([]string{"--request-timeout=5m"}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	return cmd
}

// User is the configuration of a user with the given name and groups.
func (c *Cluster) User(name string, groups ...string) (*rest.Config, error) {
	c.users.Lock() // envtest counts its certificates without one
	defer c.users.Unlock()
	user, err := c.env.AddUser(envtest.User{Name: name, Groups: groups}, &rest.Config{QPS: -1})
	if err != nil {
		return nil, err
	}
	return user.Config(), nil
}

// projectRoot is the folder of go.mod, from where this file was compiled, or
// from the working directory up if paths were trimmed.
func projectRoot() string {
	_, file, _, _ := runtime.Caller(0)
	for _, dir := range []string{filepath.Dir(file), "."} {
		for dir, err := filepath.Abs(dir); err == nil && dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				return dir
			}
		}
	}
	return "."
}
