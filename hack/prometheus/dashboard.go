package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
)

// dashboard is what is used here of a dashboard of Grafana's.
type dashboard struct {
	SchemaVersion int    `json:"schemaVersion"`
	UID           string `json:"uid"`
	Templating    struct {
		List []struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
	Panels []struct {
		ID          int      `json:"id"`
		Type        string   `json:"type"`
		Title       string   `json:"title"`
		Description string   `json:"description"`
		Targets     []target `json:"targets"`
		GridPos     struct {
			X int `json:"x"`
			Y int `json:"y"`
			W int `json:"w"`
			H int `json:"h"`
		} `json:"gridPos"`
		Datasource struct {
			UID string `json:"uid"`
		} `json:"datasource"`
	} `json:"panels"`
}

type target struct {
	Expr       string `json:"expr"`
	Datasource struct {
		UID string `json:"uid"`
	} `json:"datasource"`
}

// query is what Grafana asks with everything chosen, and with a rate over
// interval.
func (t target) query(interval string) string {
	return strings.NewReplacer("$namespace", ".*", "$name", ".*", "$__rate_interval", interval).Replace(t.Expr)
}

func readDashboard(root string) (d dashboard, err error) {
	text, err := os.ReadFile(filepath.Join(root, dashboardFile))
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(text, &d)
}
