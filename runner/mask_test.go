package runner_test

import (
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
)

func TestSecretsInErrorsAreHiddenBeforeAnythingIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	secret := "AccountKey=" + strings.Repeat("s3cr3t", 3000) // longer than what is kept of an error
	task := w.task(operation.Plan, w.tree(map[string]string{"a/main.tf": `variable "key" {
  default = "` + secret + `"
  validation {
    condition     = length(var.key) < 10
    error_message = "Wrong key: ${var.key} is not right."
  }
}
terraform {
  backend "local" {}
}
`}), "a")
	task.Mask = []string{"AccountKey=[A-Za-z0-9]+"}
	target := w.do(task).Targets[0]
	if target.Outcome != operation.TargetFailed || !strings.Contains(target.Error, "***") {
		t.Fatalf("%s: %s", target.Outcome, target.Error)
	}
	if strings.Contains(target.Error, "s3cr3t") {
		t.Errorf("the error has a part of the secret:\n%s", target.Error)
	}
	task.Operation, task.Mask = 2, []string{"("}
	if text := w.do(task).Targets[0].Error; strings.Contains(text, "key") {
		t.Errorf("with a pattern that cannot be used it says:\n%s", text)
	}
}
