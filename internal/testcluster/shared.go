package testcluster

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"

	"wechattoken.io/operator/api/v1alpha1"
)

// shared is the one cluster of a test binary. It is nil until a test asks for it.
var shared struct {
	sync.Mutex
	*Cluster
}

// Main runs the tests of a package, parallel of them side by side where they are
// marked so, and stops the cluster that they share. They may be many more than there
// are processors, for they wait most of the time; -parallel has the last word. Its
// result is the exit code of TestMain.
func Main(m *testing.M, parallel int) int {
	if err := flag.Set("test.parallel", strconv.Itoa(parallel)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctrl.SetLogger(logr.Discard()) // the libraries have nothing to say
	code := m.Run()
	if shared.Cluster != nil {
		if err := shared.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	return code
}

// Shared is the cluster that all tests of a package share; [Main] stops it. Each test
// has a namespace of its own there: [NewNamespace].
func Shared(tb testing.TB) *Cluster {
	tb.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.Cluster == nil {
		c, err := Start()
		if err != nil {
			tb.Fatal(err)
		}
		shared.Cluster = c
	}
	return shared.Cluster
}

// Scheme knows Kubernetes' types and ours.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}
