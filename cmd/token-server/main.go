// Command token-server hands the tokens of WeChatTokens to servers outside the cluster,
// over HTTPS, to who may have them as RBAC says.
package main

import (
	"flag"
	"fmt"
	"os"

	"sigs.k8s.io/controller-runtime/pkg/manager/signals"

	"wechattoken.io/operator/internal/build"
)

func main() {
	var o options
	o.bind(flag.CommandLine)
	flag.Parse()
	if err := o.validate(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "token-server:", err)
		os.Exit(2)
	}
	if o.version {
		fmt.Println("wechat-token-server", build.This())
		return
	}
	if err := run(signals.SetupSignalHandler(), o); err != nil {
		fmt.Fprintln(os.Stderr, "token-server:", err)
		os.Exit(1)
	}
}
