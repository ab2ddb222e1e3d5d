package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// The terminal.
const (
	columns = 100
	rows    = 24
)

// recorder writes asciicast v2, which other players know, too.
type recorder struct {
	out   *json.Encoder
	start time.Time
}

func (r *recorder) say(text string) error {
	return r.out.Encode([]any{float64(time.Since(r.start).Milliseconds()) / 1000, "o", text})
}

// record runs all commands. The file is written only if none of them fails.
func record(file string) error {
	var b bytes.Buffer
	r := recorder{json.NewEncoder(&b), time.Now()}
	r.out.SetEscapeHTML(false)
	if err := r.out.Encode(map[string]int{"version": 2, "width": columns, "height": rows}); err != nil {
		return err
	}
	for _, command := range commands() {
		fmt.Println("$", command)
		if err := r.say("$ " + command + "\r\n"); err != nil {
			return err
		}
		if err := r.run(command); err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// run runs a command in the root of the project.
func (r *recorder) run(command string) error {
	cmd := exec.Command("sh", "-c", command)
	cmd.Dir = ".."
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: columns})
	if err != nil {
		return err
	}
	defer terminal.Close()
	for buf := make([]byte, 4096); ; {
		n, err := terminal.Read(buf)
		if n > 0 {
			fmt.Printf("%s", buf[:n])
			if err := r.say(string(buf[:n])); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.EIO) { // Linux says EIO at the end
			return cmd.Wait()
		}
		if err != nil {
			return err
		}
	}
}
