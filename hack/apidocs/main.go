// Command apidocs writes the API reference, in English and in Chinese, from the
// CRD and from the constants of api/v1alpha1. Run it in the folder of go.mod.
package main

import (
	"log"
	"os"
	"path/filepath"
)

func main() {
	log.SetFlags(0)
	pages, err := render("..")
	if err != nil {
		log.Fatal(err)
	}
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join("..", filepath.FromSlash(name)), text, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
