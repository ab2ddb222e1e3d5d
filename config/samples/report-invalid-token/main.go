//go:build ignore

// Command report-invalid-token shows how a server in Go reports that WeChat refused
// its token:
//
//	go run main.go report.go NAME-OF-THE-WECHATTOKEN <FILE-WITH-THE-TOKEN
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) != 2 {
		return errors.New("give the name of the WeChatToken, and on stdin the token that WeChat refused")
	}
	token, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	return reportInvalidToken(ctx, os.Args[1], strings.TrimSpace(string(token)))
}
