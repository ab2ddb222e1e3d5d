package plot

import (
	"encoding/json"
	"fmt"
	"os"
)

// Save keeps a picture in a file, from which hack/pictures draws it.
func Save(picture any, file string) error {
	text, err := json.MarshalIndent(picture, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// Load reads a picture that was saved.
func Load[T any](file string) (*T, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := new(T)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}
