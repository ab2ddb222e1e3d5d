package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	namespace  = "wechat-trial"
	crd        = "wechattokens.wechattoken.io"
	builtImage = "wechat-token-operator-trial:dev" // as config/trial names it
)

// trial is the one of config/trial.
type trial struct {
	context, image string // empty when the user named none
	kubectlCommand []string
	out            io.Writer
}

func (t *trial) sayf(format string, args ...any) { fmt.Fprintf(t.out, "try: "+format+"\n", args...) }

func (t *trial) up(ctx context.Context) error {
	start := time.Now()
	where, err := t.find(ctx)
	if err != nil {
		return err
	}
	if err := t.mayApply(ctx); err != nil {
		return err
	}
	if t.image == "" {
		if err := t.load(ctx, where); err != nil {
			return err
		}
	}
	if err := t.apply(ctx); err != nil {
		return err
	}
	if err := t.awaitReady(ctx); err != nil {
		return err
	}
	return t.show(ctx, time.Since(start))
}

// find finds the cluster. One that nothing shows to be on this machine counts only if the
// user has named it.
func (t *trial) find(ctx context.Context) (place, error) {
	named := t.context != ""
	if !named {
		out, err := t.command(ctx, nil, append(append([]string{}, t.kubectlCommand...), "config", "current-context")...)
		if err != nil {
			return place{}, fmt.Errorf("there is no cluster in your kubeconfig; 'make demo' needs none: %w", err)
		}
		t.context = strings.TrimSpace(out)
	}
	var nodes corev1.NodeList
	if _, err := t.get(ctx, &nodes, "nodes"); err != nil {
		return place{}, err
	}
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // other systems have none
	where, local := placeOf(nodes.Items, strings.TrimSpace(string(boot)))
	switch {
	case local:
		t.sayf("the context %s is a %s (%s).", t.context, where.name, describe(nodes.Items))
		return where, nil
	case !named:
		return place{}, fmt.Errorf("the context %s (%s) may be somebody's real cluster, so nothing was done. If it is the one you want, run this again with CONTEXT=%s", t.context, describe(nodes.Items), t.context)
	default:
		t.sayf("the context is %s (%s), as you say.", t.context, describe(nodes.Items))
		return place{}, nil
	}
}

// mayApply refuses a cluster in which the operator is installed.
func (t *trial) mayApply(ctx context.Context) error {
	for _, o := range [][]string{{"customresourcedefinition", crd}, {"namespace", namespace}} {
		if there, ours, err := t.isOurs(ctx, o...); err != nil {
			return err
		} else if there && !ours {
			return fmt.Errorf("the cluster has the %s %s, and not from a trial. A trial beside an installed operator would change its CRD, so nothing was done; use another cluster, or, if an uninstalled operator left the CRD, delete that: docs/uninstall.md", o[0], o[1])
		}
	}
	return nil
}

// isOurs reports whether an object is there, and of a trial.
func (t *trial) isOurs(ctx context.Context, kindAndName ...string) (there, ours bool, err error) {
	var o metav1.PartialObjectMetadata
	there, err = t.get(ctx, &o, kindAndName...)
	return there, o.Labels["app.kubernetes.io/part-of"] == namespace, err
}

// load builds the image without a builder, for none has to be there then and nothing is
// pulled, and brings it onto the nodes.
func (t *trial) load(ctx context.Context, where place) error {
	if where.load == nil {
		return fmt.Errorf("no way is known to load an image into this cluster. Push one that its nodes can pull: make image PROGRAM=all IMAGE=registry.example.com/%s; docker push that; and run this again with the same IMAGE", builtImage)
	}
	dir, err := os.MkdirTemp("", "try")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	archive := filepath.Join(dir, "image.tar")
	t.sayf("building the image %s; the first time, compiling takes some minutes.", builtImage)
	if _, err := t.command(ctx, nil, "go", "run", "-C", "hack", "./image", "-o", archive, "-name", "docker.io/library/"+builtImage, "all"); err != nil {
		return err
	}
	t.sayf("loading it: %s", strings.Join(append(where.load, "image.tar"), " "))
	if _, err := t.command(ctx, nil, append(where.load, archive)...); err != nil {
		return fmt.Errorf("%w\nTo go without it, push the image where the nodes can pull it, and run this again with IMAGE= its name", err)
	}
	return nil
}

func (t *trial) apply(ctx context.Context) error {
	manifests, err := t.kubectl(ctx, "kustomize", "config/trial")
	if err != nil {
		return err
	}
	if t.image != "" {
		manifests = strings.ReplaceAll(manifests, "image: "+builtImage, "image: "+t.image)
	}
	t.sayf("kubectl apply -k config/trial: the operator, a fake WeChat and a consumer, in the namespace %s.", namespace)
	_, err = t.kubectlWith(ctx, strings.NewReader(manifests), "apply", "--filename=-")
	return err
}

// show prints what the consumer has done, and what can be done next.
func (t *trial) show(ctx context.Context, took time.Duration) error {
	const lines = 3
	var said string
	for range 60 {
		// Before the container has started there is no log.
		if said, _ = t.kubectl(ctx, "--namespace="+namespace, "logs", fmt.Sprint("--tail=", lines), "deployment/consumer"); strings.Count(said, "\n") >= lines {
			break
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
	if said == "" {
		return errors.New("the consumer has printed nothing; look at: kubectl --namespace=" + namespace + " describe pods")
	}
	t.sayf("Ready after %d s. The consumer reads the token from a file, and calls WeChat:", int(took.Seconds()))
	fmt.Fprintf(t.out, `
%s
There is a new token every 80 s. Watch them come, and remove all of it in the end:

  kubectl --context=%[2]s --namespace=%[3]s logs --follow deployment/consumer
  kubectl --context=%[2]s --namespace=%[3]s get wechattokens --watch
  make try-down CONTEXT=%[2]s

`, said, t.context, namespace)
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
