// Package prometheus tests config/prometheus: the rules with promtool, and with a
// real Prometheus that watches the operator while WeChat is out of reach and then
// refuses its address. What it sees is drawn into docs/monitoring.svg and
// docs/dashboard.svg.
package prometheus
