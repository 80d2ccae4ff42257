package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// Dead tells people that a job was given up after its attempts; the queue calls it.
func (d *Deploy) Dead(ctx context.Context, job queue.Job, reason string) {
	ctx = because(aboutJob(ctx, job), job.Cause)
	zerolog.Ctx(ctx).Error().Str("reason", reason).Msg("this work was given up")
	if err := d.tellDead(ctx, job, reason); err != nil {
		zerolog.Ctx(ctx).Error().Err(err).Msg("could not say that work was given up")
	}
}

func (d *Deploy) tellDead(ctx context.Context, job queue.Job, reason string) error {
	var about struct {
		drive

		Number int `json:"number"`
	}
	if err := json.Unmarshal(job.Payload, &about); err != nil {
		return fmt.Errorf("read %s job: %w", job.Kind, err)
	}
	if about.Repository.ID == 0 {
		return nil // of an installation, or our own
	}
	if err := d.Store.Append(ctx, store.Audit{
		Repository: about.Repository.ID, Environment: about.Environment, Who: "switchyard",
		What: "gave up " + job.Kind, Why: plainError(errors.New(reason)),
		Delivery: job.Cause, Operation: about.Operation,
	}); err != nil {
		return fmt.Errorf("record that work was given up: %w", err)
	}
	switch {
	case job.Kind == KindPlan:
		op, err := d.Store.Operation(ctx, about.Operation)
		if err != nil || op.State.Ended() {
			return wrap("find the plan", err)
		}
		return d.finish(ctx, givenUp(op, reason))
	case job.Kind == KindEnvironment:
		op, held, err := d.Store.Holder(ctx, about.Repository.ID, about.Environment)
		if err != nil || !held || op.Host != "" {
			return wrap("find who has the hold", err) // one that was started ends by itself
		}
		end := givenUp(op, reason)
		end.Then = d.following(ctx, op)
		return d.finish(ctx, end)
	case job.Kind == KindPush:
		return d.pushLost(ctx, job, reason)
	case about.Number != 0:
		body := render.GaveUpNotice(plainError(errors.New(reason)))
		key := fmt.Sprintf("gave-up/%d", about.Number)
		return d.want(ctx, about.Repository, surfaceNotice, key, notice{Comment: marked(about.Number, body, key)}, time.Time{})
	}
	return nil
}

// givenUp is the end of an operation that could not be started, again and again.
func givenUp(op operation.Operation, reason string) store.Finish {
	message := "It could not be started, and nothing was changed: " + plainError(errors.New(reason)) + "."
	if fullDisk(errors.New(reason)) {
		message = "It could not be started, and nothing was changed, because the disk of the server is full. " +
			"Whoever runs Switchyard has to make room on it first."
	}
	return store.Finish{
		Operation: op.ID, Attempt: op.Attempt, State: operation.Failed, Doubt: op.Doubt,
		Message: message,
	}
}

// refusedStart is givenUp for an error: what a person has to do about it is told whole.
func refusedStart(op operation.Operation, err error) store.Finish {
	end := givenUp(op, err.Error())
	if person := (*hub.NeedsPerson)(nil); errors.As(err, &person) {
		end.Message = "Nothing was changed. " + person.What + " " + person.Remedy
		if !op.Kind.Exclusive() {
			end.Message = person.What + " " + person.Remedy // that a plan changes nothing is said anyway
		}
	}
	return end
}

// passing reports whether what kept an operation from being started may be over at the next try.
func passing(err error) bool {
	gone, person := (*hub.Gone)(nil), (*hub.NeedsPerson)(nil)
	return !errors.As(err, &gone) && !errors.As(err, &person) && !errors.Is(err, errNoRoots) && !fullDisk(err)
}

// fullDisk reports whether there was no room on a disk of this host. A person has to make some, so that is told at once;
// git says it in words only. https://man7.org/linux/man-pages/man3/strerror.3.html
func fullDisk(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		strings.Contains(err.Error(), syscall.ENOSPC.Error()) || strings.Contains(err.Error(), "No space left on device") ||
		strings.Contains(strings.ToLower(err.Error()), syscall.EDQUOT.Error())
}
