package consumers

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
)

// mark is what the annotation of a restarted workload says.
type mark struct {
	token string // fingerprint of the token that it was restarted for
	at    time.Time
	turn  int // of the pod template since
}

func (m mark) String() string {
	return fmt.Sprintf("%s@%s/%d", m.token, m.at.UTC().Format(time.RFC3339), m.turn)
}

// readMark reads what a person may have written: what it cannot read is zero.
func readMark(value string) (m mark) {
	token, rest, _ := strings.Cut(value, "@")
	at, turn, _ := strings.Cut(rest, "/")
	m.token = token
	m.at, _ = time.Parse(time.RFC3339, at)
	m.turn, _ = strconv.Atoi(turn)
	return m
}

// turnOf is the turn of a pod template, or of a pod; 0 if it has none.
func turnOf(annotations map[string]string) int {
	turn, _ := strconv.Atoi(annotations[v1alpha1.AnnotationRestartTurn])
	return turn
}

// nextTurn is the first turn that none of the pods of w has. Its template may be an
// earlier one, whose ReplicaSet has no pods any more.
func (w *workload) nextTurn(taken map[int]bool) (turn int) {
	for taken[turn] || turn == w.turn {
		turn++
	}
	return turn
}

// restartPatch makes the turn of a mark that of the pod template. It insists on the w that
// was seen: the template may be another one by now. The marks of earlier restarts go, lest
// WeChatTokens that come and go fill the workload: this restart serves them, too.
func (w *workload) restartPatch(annotation string, m mark) ([]byte, error) {
	marks := map[string]any{}
	for key := range w.restarts {
		marks[key] = nil
	}
	marks[annotation] = m.String()
	inTemplate := map[string]any{v1alpha1.AnnotationRestartTurn: nil}
	if m.turn > 0 {
		inTemplate[v1alpha1.AnnotationRestartTurn] = strconv.Itoa(m.turn)
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": w.version, "uid": w.uid, "annotations": marks},
		"spec":     map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": inTemplate}}},
	})
}
