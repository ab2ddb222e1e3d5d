package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// floods are the attacks of hack/attack that have figures.
var floods = []string{
	"TestManyWrongAppSecretsDelayNobody", "TestFakeOwnedSecretsAreNotRead", "TestManyClaimantsCostNobodyElse",
	"TestSilentConnectionsCostNoMemory", "TestLargeObjectsAreNotKept",
}

// floodFigures are what the attributes of these tests say, and what they are to reach.
var floodFigures = map[string]figure{
	"wait-seconds": {What: "another tenant's new token, at the longest", Unit: "s", AtMost: new(1.0)},
	"reads-each":   {What: "reads of Secrets for each WeChatToken or change", AtMost: new(2.0)},
	"more-MB":      {What: "memory more, at its peak", Unit: "MB", AtMost: new(15.0)},
	"resident-MB":  {What: "resident memory", Unit: "MB", AtMost: new(100.0)},
	"restarted-MB": {What: "resident memory after a restart", Unit: "MB", AtMost: new(100.0)},
}

// tenants: what a hostile tenant costs another one, and the manager. The tests of
// hack/attack make its floods, and hold on to what they must not cost.
func (b *bench) tenants(r *result) error {
	if b.ctx.Err() != nil {
		return b.ctx.Err()
	}
	p := begin("tenants", 0)
	defer p.end()
	attack := exec.CommandContext(b.ctx, "go", "test", "-tags", "integration,heavy", "-json", "-count=1", "-timeout=1h", "-run", "^("+strings.Join(floods, "|")+")$", "./attack")
	attack.Cancel = func() error { return attack.Process.Signal(os.Interrupt) }
	attack.Stderr = os.Stderr
	out, err := attack.StdoutPipe()
	if err != nil {
		return err
	}
	if err := attack.Start(); err != nil {
		return err
	}
	return errors.Join(r.floodFigures(out), attack.Wait())
}

// floodFigures reads figures out of what `go test -json` writes, and shows the rest.
func (r *result) floodFigures(out io.Reader) error {
	for lines := json.NewDecoder(out); ; {
		var e struct {
			Action, Test, Output, Key, Value string
		}
		if err := lines.Decode(&e); errors.Is(err, io.EOF) { //nolint:musttag // case does not matter to encoding/json
			return nil
		} else if err != nil {
			return err
		}
		fmt.Fprint(os.Stderr, e.Output)
		if f, ok := floodFigures[e.Key]; ok && e.Action == "attr" {
			v, err := strconv.ParseFloat(e.Value, 64)
			if err != nil {
				return err
			}
			r.judge(strings.TrimPrefix(e.Test, "Test")+": "+f.What, v, *f.AtMost, f.Unit)
		}
	}
}
