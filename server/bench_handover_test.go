package server_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

// fakeTerraform makes a stand-in for Terraform that finds the same change in every plan. Its apply waits while there
// is a file named hold.
func (l *load) fakeTerraform() string {
	l.b.Helper()
	plan := filepath.Join(l.States, "plan")
	if err := terraformtest.WritePlanFile(plan); err != nil {
		l.b.Fatal(err)
	}
	shown := `{"format_version":"1.2","terraform_version":"1.11.4","applyable":true,"complete":true,"resource_changes":[{` +
		`"address":"terraform_data.a","mode":"managed","type":"terraform_data","name":"a","provider_name":"terraform.io/builtin/terraform",` +
		`"change":{"actions":["create"],"before":null,"after":{"input":"a"},"after_unknown":{"id":true},` +
		`"before_sensitive":false,"after_sensitive":{}}}]}`
	text := fmt.Sprintf(`#!/bin/sh
case "$1" in
version) echo '{"terraform_version":"1.11.4","platform":"linux_amd64","provider_selections":{},"terraform_outdated":false}' ;;
init) mkdir -p "$TF_DATA_DIR"; echo '{"backend":{"type":"azurerm"}}' > "$TF_DATA_DIR/terraform.tfstate" ;;
plan) for arg in "$@"; do case "$arg" in -out=*) cat '%s' > "${arg#-out=}" ;; esac; done ;;
show) echo '%s' ;;
apply) echo began >> '%s'; while [ -e '%s' ]; do sleep 0.01; done ;;
esac
`, plan, shown, l.began(), l.hold())
	program := filepath.Join(l.States, "terraform")
	if err := os.WriteFile(program, []byte(text), 0o700); err != nil { //nolint:gosec // a program
		l.b.Fatal(err)
	}
	return program
}

func (l *load) hold() string  { return filepath.Join(l.States, "hold") }
func (l *load) began() string { return filepath.Join(l.States, "began") }

// handOver has two applies of one environment wait for each other, and gives the time from the end of the first runner
// to the start of the second, while each call of GitHub's API takes so much longer.
func (l *load) handOver(latency time.Duration) time.Duration {
	l.b.Helper()
	s := &shop{world: l.world, repo: l.repos[0]}
	var pulls []int
	for range 2 {
		l.pulls++
		name := fmt.Sprintf("part%d", l.pulls)
		pulls = append(pulls, s.open("feature/"+name, "develop", map[string]string{"infra/r01/" + name + ".tf": "# " + name + "\n"}))
		s.planned(pulls[len(pulls)-1], "dev")
	}
	if err := os.WriteFile(l.hold(), nil, 0o600); err != nil {
		l.b.Fatal(err)
	}
	if err := os.RemoveAll(l.began()); err != nil {
		l.b.Fatal(err)
	}
	first := s.merge(pulls[0])
	if !terraformtest.Eventually(func() bool { return terraformtest.Exists(l.began()) }) {
		l.b.Fatal("the first apply did not begin")
	}
	second := s.merge(pulls[1])
	s.said(pulls[1], "Waiting for dev")
	l.Box.SetLatency(latency)
	if err := os.Remove(l.hold()); err != nil {
		l.b.Fatal(err)
	}
	s.checkIs(second, "switchyard / apply (dev)", "success")
	l.Box.SetLatency(0)
	l.drained()
	return l.resultOf(second).Started.Sub(l.resultOf(first).Ended)
}

// resultOf is what the runner has left that applied a commit, on whichever replica.
func (l *load) resultOf(sha string) operation.Result {
	l.b.Helper()
	files, err := filepath.Glob(filepath.Join(l.data, "*", "runs", "*", "result.json"))
	if err != nil {
		l.b.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			l.b.Fatal(err)
		}
		var result operation.Result
		if err := json.Unmarshal(data, &result); err != nil {
			l.b.Fatal(err)
		}
		if result.Commit == sha {
			return result
		}
	}
	l.b.Fatalf("no runner has applied %s", sha)
	return operation.Result{}
}
