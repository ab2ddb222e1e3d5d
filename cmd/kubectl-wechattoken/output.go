package main

import (
	"encoding/json"
	"io"

	"sigs.k8s.io/yaml"
)

// printAs prints value for scripts, as json or yaml.
func printAs(w io.Writer, output string, value any) error {
	out, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return err
	}
	out = append(out, '\n')
	if output == "yaml" {
		if out, err = yaml.JSONToYAML(out); err != nil {
			return err
		}
	}
	_, err = w.Write(out)
	return err
}
