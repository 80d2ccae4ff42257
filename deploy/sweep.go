package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

// Webhooks are hints: a sweep finds what they have not told. It is one job for all replicas.

const (
	// redeliverable is for how long GitHub keeps deliveries to be made again.
	// https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
	redeliverable = 3 * 24 * time.Hour
	// maxRedelivered bounds the calls of one sweep; what is left is for the next.
	maxRedelivered = 100
	// stranded is how long an operation may be open before a sweep sees to it that somebody carries it on.
	stranded = time.Minute
)

// sweep is the payload of a sweep.
type sweep struct {
	Everything bool `json:"everything,omitempty"` // repositories too: a server has begun
}

// SweepJob is the job that looks for what was missed; everything also looks at every repository anew,
// which costs calls.
func SweepJob(everything bool) queue.Job {
	key := "sweep"
	if everything {
		key = "sweep everything"
	}
	j := job(queue.Quick, KindSweep, 0, key, sweep{Everything: everything})
	j.Once = true
	return j
}

// RepositorySeen says that a repository has to be looked at again as a whole.
type RepositorySeen struct {
	Repository operation.Repository `json:"repository"`
}

// Job makes the queue's job of what was seen.
func (r RepositorySeen) Job() queue.Job {
	j := job(queue.Quick, KindRepository, r.Repository.ID, strconv.FormatInt(r.Repository.ID, 10), r)
	j.Once = true
	return j
}

// sweep has deliveries that failed made again, and open operations carried on.
func (d *Deploy) sweep(ctx context.Context, what sweep) error {
	ctx = hub.Deferrable(ctx)              // people's calls go first
	if err := d.carryOn(ctx); err != nil { // first, because it needs nothing of GitHub
		return err
	}
	if err := d.sweepGates(ctx); err != nil {
		return err
	}
	if err := d.watchLocks(ctx); err != nil {
		return err
	}
	if err := d.redeliver(ctx); err != nil {
		return err
	}
	if !what.Everything {
		return nil
	}
	return d.lookAtAll(ctx)
}

// redeliver asks GitHub for the deliveries that failed and were not accepted in another attempt, and has
// them made again.
func (d *Deploy) redeliver(ctx context.Context) error {
	failed, err := d.Hub.FailedDeliveries(ctx, d.Clock.Now().Add(-redeliverable))
	if err != nil {
		return fmt.Errorf("list failed deliveries: %w", err)
	}
	asked := map[string]bool{}
	newest := map[string]int64{}
	for _, delivery := range failed {
		newest[delivery.GUID] = max(newest[delivery.GUID], delivery.ID)
	}
	for _, delivery := range slices.Backward(failed) { // the oldest first
		if asked[delivery.GUID] || delivery.ID != newest[delivery.GUID] {
			continue
		}
		// What nobody has to act on is answered and not kept; such a delivery is asked for again only when the
		// newest attempt failed, which has an id of its own.
		if settled, err := d.delivered(ctx, delivery); err != nil || settled {
			if err != nil {
				return err
			}
			continue
		}
		if len(asked) == maxRedelivered {
			zerolog.Ctx(ctx).Warn().Int("failed", len(failed)).Msg("more deliveries failed than one sweep asks for again")
			return nil
		}
		asked[delivery.GUID] = true
		if err := d.Hub.Redeliver(ctx, delivery.ID); err != nil {
			return fmt.Errorf("have a delivery made again: %w", err)
		}
		if err := d.Store.AskAgain(ctx, delivery.ID); err != nil {
			return fmt.Errorf("remember a redelivery: %w", err)
		}
		zerolog.Ctx(ctx).Info().Str("missed", delivery.GUID).Str("event", delivery.Event).Msg("a delivery had failed and is made again")
	}
	return nil
}

// delivered reports whether nothing is to be done about a failed attempt: the delivery was accepted in
// another one, or GitHub was asked already to make it again.
func (d *Deploy) delivered(ctx context.Context, failed hub.FailedDelivery) (bool, error) {
	accepted, err := d.Store.Accepted(ctx, failed.GUID)
	if err != nil || accepted {
		return accepted, wrap("look for a delivery", err)
	}
	asked, err := d.Store.AskedAgain(ctx, failed.ID)
	return asked, wrap("look for a redelivery", err)
}

// carryOn sees to it that each open operation has a job. One that runs has it already; then the new one
// finds nothing to do.
func (d *Deploy) carryOn(ctx context.Context) error {
	open, err := d.Store.Operations(ctx, store.Filter{States: []operation.State{operation.Queued, operation.Running}})
	if err != nil {
		return fmt.Errorf("find open operations: %w", err)
	}
	for _, op := range open {
		if d.watches(op.ID) || d.Clock.Since(op.Arrived) < stranded {
			continue
		}
		j := driveJob(op)
		j.Once = true
		if err := d.enqueue(ctx, j); err != nil {
			return fmt.Errorf("queue %s again: %w", op, err)
		}
	}
	return nil
}

// lookAtAll has every repository that the App may see looked at, known or not.
func (d *Deploy) lookAtAll(ctx context.Context) error {
	installations, err := d.Hub.Installations(ctx)
	if err != nil {
		return fmt.Errorf("list installations: %w", err)
	}
	for _, installation := range installations {
		if installation.Suspended {
			continue
		}
		repositories, err := d.Hub.Repositories(ctx, installation.ID)
		if wait := (*hub.Wait)(nil); errors.As(err, &wait) {
			zerolog.Ctx(ctx).Warn().Err(err).Str("installation", installation.Account).Msg("not looked at for now")
			continue
		}
		if err != nil {
			return fmt.Errorf("list the repositories of %s: %w", installation.Account, err)
		}
		for _, repo := range repositories {
			if repo.Archived {
				continue
			}
			if err := d.lookAt(ctx, repo); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Deploy) lookAt(ctx context.Context, repo hub.Info) error {
	_, _, known, err := d.Store.Repository(ctx, repo.ID)
	if err != nil {
		return fmt.Errorf("read repository: %w", err)
	}
	j := RepositorySeen{Repository: repo.Repository}.Job()
	if !known {
		j = Installed{Installation: repo.Installation, Added: []operation.Repository{repo.Repository}}.Job()
	}
	return wrap("queue "+repo.FullName(), d.enqueue(ctx, j))
}

// repositorySeen looks for branches that have moved and pull requests that have changed without a word.
func (d *Deploy) repositorySeen(ctx context.Context, seen RepositorySeen) error {
	repo := seen.Repository
	config, err := d.fetched(ctx, repo)
	if err != nil {
		return err
	}
	if err := d.missedPushes(ctx, repo, config); err != nil {
		return err
	}
	if err := d.missedGates(ctx, repo, config); err != nil {
		return err
	}
	return d.missedPulls(ctx, repo)
}

func (d *Deploy) missedPushes(ctx context.Context, repo operation.Repository, config configured) error {
	branches, err := d.Git.Branches(ctx, repo, func(name string) bool {
		_, mapped := config.EnvironmentOf(name)
		return mapped
	})
	if err != nil {
		return fmt.Errorf("list branches: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(branches)) {
		last, known, err := d.Store.BranchTip(ctx, repo.ID, name)
		if err != nil {
			return fmt.Errorf("read the last tip: %w", err)
		}
		// One that is not known is being taken in, or its push is among the deliveries that are made again: what a
		// repository holds when Switchyard first sees it must never be applied for that.
		if !known || last == branches[name] {
			continue
		}
		if err := d.enqueue(ctx, BranchPushed{Repository: repo, Branch: name, Before: last}.Job()); err != nil {
			return fmt.Errorf("queue the push of %s: %w", name, err)
		}
	}
	return nil
}

func (d *Deploy) missedPulls(ctx context.Context, repo operation.Repository) error {
	open, err := d.Hub.OpenPulls(ctx, repo)
	if err != nil {
		return fmt.Errorf("list open pull requests: %w", err)
	}
	saved, err := d.Store.Pulls(ctx, repo.ID)
	if err != nil {
		return fmt.Errorf("read pull requests: %w", err)
	}
	seen := map[int]pullFacts{} // those that were open when they were seen last
	for _, data := range saved {
		var facts pullFacts
		if err := json.Unmarshal(data, &facts); err != nil { //nolint:musttag // see pullFacts
			return fmt.Errorf("read pull request: %w", err)
		}
		if facts.State == hub.Open {
			seen[facts.Number] = facts
		}
	}
	var missed []int
	bots := map[int]bool{}
	for _, pull := range open {
		bots[pull.Number] = pull.AuthorType == hub.Bot
		facts, known := seen[pull.Number]
		delete(seen, pull.Number)
		if !known || facts.Head != pull.HeadSHA || facts.Base != pull.BaseRef {
			missed = append(missed, pull.Number)
		}
	}
	missed = append(missed, slices.Collect(maps.Keys(seen))...) // closed meanwhile
	slices.Sort(missed)
	for _, number := range missed {
		if err := d.enqueue(ctx, PullSeen{Repository: repo, Number: number, Bot: bots[number]}.Job()); err != nil {
			return fmt.Errorf("queue #%d: %w", number, err)
		}
	}
	if len(missed) > 0 {
		zerolog.Ctx(ctx).Info().Str("missed", strings.Trim(fmt.Sprint(missed), "[]")).Msg("pull requests changed without a word")
	}
	return nil
}
