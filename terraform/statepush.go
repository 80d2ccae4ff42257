package terraform

import (
	"context"
	"strings"
	"time"
)

// StatePush makes the content of a file the state, which Terraform refuses where the state there is another one or a newer one.
// https://developer.hashicorp.com/terraform/cli/commands/state/push
func (r *Root) StatePush(ctx context.Context, file string, lockTimeout time.Duration) error {
	return r.run(ctx, command{args: []string{"state", "push", "-no-color", "-lock-timeout=" + lockTimeout.String(), file}})
}

// RefusesState reports whether Terraform said that a state must not take the place of the one that is there: to ask again is of no use.
func RefusesState(output string) bool {
	output = strings.Join(strings.Fields(output), " ") // as Terraform breaks lines
	return strings.Contains(output, "with serial") || strings.Contains(output, "with lineage")
}
