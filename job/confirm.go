package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// confirmPath is below a server's address.
const confirmPath = "/api/job/confirm"

// confirm asks the server, where the job is told to, whether the operation still has its hold: just before each root is applied, or
// a lock is broken. Nothing is changed without its yes. It is nil where no server is to be asked; the workflow's word for that goes
// before the dispatch's.
func (p Parts) confirm(task operation.Task) (func(context.Context) error, error) {
	server := cmp.Or(p.Env.input(inputServer), task.Job.Server)
	if !task.Kind.Exclusive() || server == "" {
		return nil, nil //nolint:nilnil // nobody is asked
	}
	audience, err := serverAddress(server)
	if err != nil {
		return nil, err
	}
	if told := strings.TrimRight(task.Job.Server, "/"); told != "" && told != audience {
		return nil, fmt.Errorf("the task names the server %s, and the workflow %s", quote(told), quote(audience))
	}
	if !p.Machine.Identity.given() {
		return nil, fmt.Errorf("the server %s has to confirm the %s, and this job cannot prove to it which job it is: "+
			"give it the permission `id-token: write`", quote(audience), task.Kind)
	}
	return func(ctx context.Context) error {
		_, err := p.askServer(ctx, audience, confirmPath, task)
		denied, ok := errors.AsType[*deniedError](err)
		switch {
		case err == nil:
			return nil
		case ok && denied.reason != "":
			return fmt.Errorf("the server says no: %s", denied.reason)
		case ok:
			return fmt.Errorf("the server %s does not confirm the %s: it answers %s", audience, task.Kind, denied.status)
		default:
			return fmt.Errorf("the server %s did not confirm the %s: %w: %w", audience, task.Kind, operation.ErrNoAnswer, err)
		}
	}, nil
}
