// Command pictures draws the pictures of docs from what was measured: the files of
// its folder, as make propagation, make monitoring-picture and make bench keep them.
// It runs in the folder hack.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"wechattoken.io/operator/hack/plot"
)

func main() {
	if err := drawAll("pictures", "../docs"); err != nil {
		fmt.Fprintln(os.Stderr, "pictures:", err)
		os.Exit(1)
	}
}

var names = []string{"dashboard", "monitoring", "performance", "propagation"}

// drawAll draws each picture of a folder into another one.
func drawAll(from, into string) error {
	for _, name := range names {
		p, err := load(filepath.Join(from, name+".json"))
		if err != nil {
			return err
		}
		if err := p.Write(filepath.Join(into, name+".svg")); err != nil {
			return err
		}
	}
	return nil
}

func load(file string) (interface{ Write(file string) error }, error) {
	if filepath.Base(file) == "dashboard.json" {
		return plot.Load[plot.Board](file)
	}
	return plot.Load[plot.Picture](file)
}
