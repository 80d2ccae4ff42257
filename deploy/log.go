package deploy

import (
	"context"
	"encoding/json"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

// The keys by which lines of the log say what they are about. The queue adds job, kind, key and delivery.
const (
	keyRepository  = "repository"
	keyPullRequest = "pull_request"
	keyBranch      = "branch"
	keyEnvironment = "environment"
	keyOperation   = "operation"
	keyState       = "state"
	keySurface     = "surface"
	keyAgain       = "again"
	keyTook        = "took"
	keyHost        = "host"
	keyComment     = "comment"
)

// about has all lines that are logged with the context say what they are about. Each key is given once
// on the way down, because zerolog would write it twice.
func about(ctx context.Context, say func(zerolog.Context) zerolog.Context) context.Context {
	return say(zerolog.Ctx(ctx).With()).Logger().WithContext(ctx)
}

// aboutJob has lines say what a job is about: its payload has what is known before the work begins.
func aboutJob(ctx context.Context, job queue.Job) context.Context {
	var subject struct {
		Repository  operation.Repository `json:"repository"`
		Number      int                  `json:"number"`
		Branch      string               `json:"branch"`
		Environment string               `json:"environment"`
		Operation   int64                `json:"operation"`
	}
	if err := json.Unmarshal(job.Payload, &subject); err != nil {
		return ctx // the work itself tells that it cannot be read
	}
	return about(ctx, func(c zerolog.Context) zerolog.Context {
		if subject.Repository.Name != "" {
			c = c.Str(keyRepository, subject.Repository.FullName())
		}
		if subject.Number != 0 {
			c = c.Int(keyPullRequest, subject.Number)
		}
		if subject.Branch != "" {
			c = c.Str(keyBranch, subject.Branch)
		}
		if subject.Environment != "" {
			c = c.Str(keyEnvironment, subject.Environment)
		}
		if subject.Operation != 0 {
			c = c.Int64(keyOperation, subject.Operation)
		}
		return c
	})
}

// aboutApply is for an apply, where the context names its repository and environment already.
func aboutApply(ctx context.Context, op operation.Operation) context.Context {
	return about(ctx, func(c zerolog.Context) zerolog.Context {
		c = c.Int64(keyOperation, op.ID)
		if op.Pull != 0 {
			c = c.Int(keyPullRequest, op.Pull)
		}
		return c
	})
}

type causeKey struct{}

// because keeps the delivery that led to the work of a context, for us and for the audit.
func because(ctx context.Context, delivery string) context.Context {
	return store.Because(context.WithValue(ctx, causeKey{}, delivery), delivery)
}

// causeOf is the delivery that led to the work of a context; "" for our own.
func causeOf(ctx context.Context) string {
	delivery, _ := ctx.Value(causeKey{}).(string)
	return delivery
}
