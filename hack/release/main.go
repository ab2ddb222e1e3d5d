// Command release fills in the manifest for krew, which knows the archives of the
// plugin by their checksums:
//
//	release -version v1.2.3 -url https://... ARCHIVE.tar.gz... <TEMPLATE >MANIFEST
package main

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

func main() {
	version := flag.String("version", "", "the release's `version`")
	url := flag.String("url", "", "where the archives will be")
	flag.Parse()
	if err := fill(os.Stdout, os.Stdin, *version, *url, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func fill(w io.Writer, r io.Reader, version, url string, archives []string) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	t, err := template.New("krew.yaml").Option("missingkey=error").Parse(string(text))
	if err != nil {
		return err
	}
	sums := map[string]string{}
	for _, a := range archives {
		data, err := os.ReadFile(a)
		if err != nil {
			return err
		}
		sums[strings.TrimSuffix(filepath.Base(a), ".tar.gz")] = fmt.Sprintf("%x", sha256.Sum256(data))
	}
	return t.Execute(w, map[string]any{"TagName": version, "BaseURL": strings.TrimSuffix(url, "/"), "SHA256": sums})
}
