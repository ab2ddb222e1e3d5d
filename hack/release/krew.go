package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// manifest fills in the template of the manifest for krew.
func manifest(w io.Writer, r io.Reader, version, url string, archives []string) error {
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
	return t.Execute(w, map[string]any{"TagName": version, "Home": homeOf(url), "BaseURL": strings.TrimSuffix(url, "/"), "SHA256": sums})
}
