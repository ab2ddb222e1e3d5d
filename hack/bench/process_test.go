package main

import (
	"os"
	"testing"
	"time"
)

// The name of a program may look like fields.
func TestCPUIn(t *testing.T) {
	got, err := cpuIn("7 (a) S 1 (b)) S 1 7 7 0 -1 4194560 900 0 0 0 150 25 0 0 20 0 5 0 100 1000 200 184467\n")
	if want := 1750 * time.Millisecond; err != nil || got != want {
		t.Errorf("cpuIn() = %s, %v, want %s", got, err, want)
	}
	if _, err := cpuIn("7 (a) S"); err == nil {
		t.Error("a line that ends early is taken")
	}
}

// This process has some memory, and had no less.
func TestMemory(t *testing.T) {
	resident, peak, err := memory(os.Getpid())
	if err != nil || resident <= 0 || peak < resident {
		t.Errorf("memory() = %g MB, peak %g MB, %v", resident, peak, err)
	}
}
