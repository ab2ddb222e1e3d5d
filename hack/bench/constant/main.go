// Command constant serves a constant as the token-server serves tokens: the ceiling of that.
package main

import (
	"fmt"
	"net/http"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"

	"wechattoken.io/operator/internal/serving"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "constant:", err)
		os.Exit(1)
	}
}

func run(address string) error {
	certificate, err := serving.SelfSigned()
	if err != nil {
		return err
	}
	ctx := ctrl.SetupSignalHandler()
	e := serving.Endpoint{
		Purpose: "constant", Flag: "address", Address: address, TLS: certificate, Limits: serving.Limits{OfOne: 512, OfAll: 1024},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "private, max-age=60")
			fmt.Fprintf(w, `{"access_token":"%0136d","appid":"wx0123456789abcdef","expires_at":"2026-11-22T13:41:36Z","expires_in":7000}`, 0)
		}),
	}
	server, err := e.Listen(ctx)
	if err != nil {
		return err
	}
	return server.Start(ctx)
}
