// Command trial is what a trial of the operator needs besides the operator and a fake
// WeChat: what sets both up, and a program that uses the token. config/trial runs it.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
)

const usage = `trial is for the pods of config/trial.

  trial setup FILE     make what the trial cannot have in a file: a certificate for the
                       fake WeChat, an AppSecret, and the WeChatToken of FILE once its
                       CRD is served
  trial consume FILE   call WeChat every two seconds with the token in FILE, and print
                       what it answers
`

func main() {
	os.Exit(run(os.Args[1:]))
}

// run returns the exit code.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	program, file := "", ""
	if len(args) == 2 {
		program, file = args[0], args[1]
	}
	var err error
	switch program {
	case "setup":
		err = setUp(ctx, file)
	case "consume":
		c := consumer{file: file, url: os.Getenv("WECHAT_URL"), weChat: &http.Client{Timeout: 10 * time.Second}, out: os.Stdout}
		err = c.consume(ctx)
	default:
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "trial:", err)
		return 1
	}
	return 0
}

func setUp(ctx context.Context, file string) error {
	token, err := os.ReadFile(file) //nolint:gosec // config/trial names the file
	if err != nil {
		return err
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	// The kubelet sets the address for each Service of the namespace.
	s := setup{client: client, namespace: os.Getenv("NAMESPACE"), address: os.Getenv("FAKE_WECHAT_SERVICE_HOST"), token: token, out: os.Stdout}
	return s.run(ctx)
}
