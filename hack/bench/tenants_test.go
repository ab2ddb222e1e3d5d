package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFloodsTellTheirFiguresAsAttributes(t *testing.T) {
	r := (&report{}).result("tenants", 1)
	err := r.floodFigures(strings.NewReader(`
{"Action":"run","Test":"TestFlood"}
{"Action":"attr","Test":"TestFlood/own","Key":"wait-seconds","Value":"0.25"}
{"Action":"attr","Test":"TestFlood/own","Key":"other","Value":"x"}
{"Action":"pass","Test":"TestFlood","Elapsed":1.5}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []figure{{Scenario: "tenants", N: 1, What: "Flood/own: another tenant's new token, at the longest", Value: 0.25, Unit: "s", AtMost: new(1.0)}}
	if diff := cmp.Diff(want, r.Figures); diff != "" {
		t.Errorf("figures (-want +got):\n%s", diff)
	}
}
