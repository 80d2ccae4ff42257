package statelock

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/operation"
)

// ours is the id that a lease gets when it is taken over: the same one each time that the same lock is broken, so that a break that was
// cut off finds again what it had.
func ours(lock string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/switchyard-dev/switchyard#break-lease/"+lock)).String()
}

// lastLook is how long the look at what is there afterwards may take, also when everything is to stop.
const lastLook = 10 * time.Second

// Break makes the lock free. Its rules are those of leases: of two that change a lease from the same id one wins, and whoever had the
// old id writes nothing any more.
// https://learn.microsoft.com/rest/api/storageservices/lease-blob#outcomes-of-lease-operations-on-blobs-by-lease-state
func (s *State) Break(ctx context.Context, task operation.LockTask) (operation.Broken, error) {
	client, err := s.blob(s.settings.key)
	if err != nil {
		return operation.Broken{}, err
	}
	b := breaking{State: s, task: task, client: client, ours: ours(task.ID), trial: ours("try/" + task.ID + "/" + task.ETag)}
	err = b.run(ctx)
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLook)
	defer cancel()
	if now, lookErr := s.Inspect(limited); lookErr == nil {
		b.broken.Now = &now
	}
	return b.broken, err
}

// breaking is one run of Break.
type breaking struct {
	*State

	task   operation.LockTask
	client *blockblob.Client
	ours   string // the id of the lease that is taken over
	trial  string // the id of the lease by which is tried whether the lock is free
	broken operation.Broken
}

func (b *breaking) run(ctx context.Context) error {
	seen, err := b.seen(ctx)
	switch {
	case err != nil:
		return err
	case !seen.locked():
		b.broken.How = operation.ReleasedBefore
		return nil
	case b.task.ID == "":
		err = b.force(ctx, seen)
	default:
		err = b.takeOver(ctx, seen)
	}
	if errors.As(err, new(*movedOn)) {
		err = b.after(ctx, err)
	}
	if err == nil && b.broken.How != operation.ReleasedBefore && !b.broken.Verified {
		b.verify(ctx)
	}
	return err
}

// movedOn says that the lease is not what it was when it was looked at.
type movedOn struct{ error }

// call does one call with its own deadline.
func (b *breaking) call(ctx context.Context, doing string, do func(ctx context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	err := do(limited)
	answer, ok := errors.AsType[*azcore.ResponseError](err)
	switch {
	case err == nil:
		return nil
	case ok && (answer.StatusCode == http.StatusConflict && strings.HasPrefix(answer.ErrorCode, "Lease") ||
		answer.StatusCode == http.StatusPreconditionFailed || absent(err) != ""):
		return &movedOn{fmt.Errorf("%s: %w", doing, brief(err))}
	default:
		return b.failed(doing, toWrite, err)
	}
}

// takeOver takes the lock over by its id, copies the state, clears what is written about the holder, and releases it.
func (b *breaking) takeOver(ctx context.Context, seen sighting) error {
	if err := b.take(ctx, seen); err != nil || b.broken.How == operation.ReleasedBefore {
		return err
	}
	b.broken.Taken = true
	if err := b.copyState(ctx, seen, &blob.AccessConditions{LeaseAccessConditions: b.leased()}); err != nil {
		return err
	}
	if err := b.clear(ctx, seen); err != nil {
		return err
	}
	b.broken.Cleared = true
	held, err := b.lease(b.ours)
	if err != nil {
		return err
	}
	err = b.call(ctx, "release the lease that was taken over", func(ctx context.Context) error {
		_, err := held.ReleaseLease(ctx, nil)
		return err //nolint:wrapcheck // call wraps it
	})
	if err != nil {
		return err
	}
	b.broken.How = operation.ReleasedTaken
	return nil
}

// take makes the lease ours. Where it is not any more what was explained, it may be that an earlier run was cut off and has it.
func (b *breaking) take(ctx context.Context, seen sighting) error {
	if seen.holder() == b.task.ID && seen.etag == b.task.ETag {
		old, err := b.lease(b.task.ID)
		if err != nil {
			return err
		}
		err = b.call(ctx, "take the lease over", func(ctx context.Context) error {
			_, err := old.ChangeLease(ctx, b.ours, &lease.BlobChangeOptions{ModifiedAccessConditions: onlyIf(seen.etag)})
			return err //nolint:wrapcheck // call wraps it
		})
		if err == nil || !errors.As(err, new(*movedOn)) {
			return err
		}
	}
	err := b.renew(ctx)
	if errors.As(err, new(*movedOn)) {
		return b.endTrial(ctx, err)
	}
	return err
}

// endTrial releases the lease by which an earlier run tried whether the lock is free, and gives cause where there is none.
func (b *breaking) endTrial(ctx context.Context, cause error) error {
	trial, err := b.lease(b.trial)
	if err != nil {
		return err
	}
	err = b.call(ctx, "release the lock that was taken to try", func(ctx context.Context) error {
		_, err := trial.ReleaseLease(ctx, nil)
		return err //nolint:wrapcheck // call wraps it
	})
	if errors.As(err, new(*movedOn)) {
		return cause
	}
	if err == nil {
		b.broken.How = operation.ReleasedBefore
	}
	return err
}

// renew changes nothing, as the lease has no end. It fails unless the lease is ours.
func (b *breaking) renew(ctx context.Context) error {
	mine, err := b.lease(b.ours)
	if err != nil {
		return err
	}
	return b.call(ctx, "take the lease over", func(ctx context.Context) error {
		_, err := mine.RenewLease(ctx, nil)
		return err //nolint:wrapcheck // call wraps it
	})
}

// force breaks a lease that has no description: nothing else helps. A newcomer that takes it meanwhile writes its description first, and
// that fails.
func (b *breaking) force(ctx context.Context, seen sighting) error {
	if seen.holder() != "" || seen.etag != b.task.ETag {
		return ErrOther
	}
	if err := b.copyState(ctx, seen, &blob.AccessConditions{ModifiedAccessConditions: onlyIf(seen.etag)}); err != nil {
		return err
	}
	unnamed, err := b.lease("")
	if err != nil {
		return err
	}
	err = b.call(ctx, "break the lease", func(ctx context.Context) error {
		_, err := unnamed.BreakLease(ctx, &lease.BlobBreakOptions{BreakPeriod: new(int32(0)), ModifiedAccessConditions: onlyIf(seen.etag)})
		return err //nolint:wrapcheck // call wraps it
	})
	if err != nil {
		return err
	}
	b.broken.How = operation.ReleasedBroken
	return nil
}

// copyState makes a snapshot of the state. An account that makes none is no reason to stop: the state itself is not touched.
func (b *breaking) copyState(ctx context.Context, seen sighting, conditions *blob.AccessConditions) error {
	if seen.size == 0 {
		b.broken.NoCopy = "The state is empty, so there was nothing to copy."
		return nil
	}
	var refused string
	err := b.call(ctx, "copy the state", func(ctx context.Context) error {
		made, err := b.client.CreateSnapshot(ctx, &blob.CreateSnapshotOptions{AccessConditions: conditions})
		b.broken.Snapshot = value(made.Snapshot)
		if answer, ok := errors.AsType[*azcore.ResponseError](err); ok && noSnapshots(answer) {
			refused = answer.ErrorCode
			return nil
		}
		return err //nolint:wrapcheck // call wraps it
	})
	if refused != "" {
		b.broken.NoCopy = "The storage account makes no copy of it: " + refused + "."
	}
	return err
}

// noSnapshots tells whether a storage account can make no snapshot, now or ever.
func noSnapshots(answer *azcore.ResponseError) bool {
	return answer.StatusCode == http.StatusBadRequest || answer.StatusCode == http.StatusConflict &&
		(answer.ErrorCode == string(bloberror.SnapshotCountExceeded) || answer.ErrorCode == string(bloberror.FeatureVersionMismatch) ||
			strings.Contains(answer.ErrorCode, "NotSupported"))
}

// clear removes Terraform's description of the lock, and leaves what others have written.
func (b *breaking) clear(ctx context.Context, seen sighting) error {
	others, described := map[string]*string{}, false
	for name, value := range seen.metadata {
		if strings.EqualFold(name, lockKey) {
			described = true
			continue
		}
		others[name] = value
	}
	if !described {
		return nil
	}
	return b.call(ctx, "clear what is written about the holder", func(ctx context.Context) error {
		_, err := b.client.SetMetadata(ctx, others, &blob.SetMetadataOptions{
			AccessConditions: &blob.AccessConditions{LeaseAccessConditions: b.leased()},
		})
		return err //nolint:wrapcheck // call wraps it
	})
}

// after finds out what became of a lease that is not any more what it was a moment ago: another run has released it, as this one may
// have although its answer was lost; or it was never the one that was meant.
func (b *breaking) after(ctx context.Context, cause error) error {
	seen, err := b.seen(ctx)
	switch {
	case err != nil:
		return err
	case !seen.locked() && b.broken.Taken:
		b.broken.How = operation.ReleasedTaken
		return nil
	case !seen.locked():
		b.broken.How = operation.ReleasedBefore
		return nil
	case !b.broken.Taken:
		return ErrOther
	}
	if err := b.renew(ctx); !errors.As(err, new(*movedOn)) {
		return errors.Join(cause, err) // it is ours still
	}
	b.broken.How, b.broken.Verified = operation.ReleasedTaken, true // by another run of this, and somebody else has it now
	return nil
}

// verify takes the lock and releases it once more. It is free in any case: that this fails is a note.
func (b *breaking) verify(ctx context.Context) {
	const seconds = 15 // the least that there is: then it ends by itself
	mine, err := b.lease(b.trial)
	if err == nil {
		err = b.call(ctx, "take the free lock", func(ctx context.Context) error {
			_, err := mine.AcquireLease(ctx, seconds, nil)
			return err //nolint:wrapcheck // call wraps it
		})
	}
	if errors.As(err, new(*movedOn)) { // somebody else was quicker
		b.broken.Verified = true
		return
	}
	if err == nil {
		err = b.call(ctx, "release the lock that was taken to try", func(ctx context.Context) error {
			_, err := mine.ReleaseLease(ctx, nil)
			return err //nolint:wrapcheck // call wraps it
		})
	}
	if err != nil && !errors.As(err, new(*movedOn)) {
		b.broken.Untried = fmt.Sprintf("Whether the lock can be taken now is not known: %v.", err)
		return
	}
	b.broken.Verified = true
}

func (b *breaking) leased() *blob.LeaseAccessConditions {
	return &blob.LeaseAccessConditions{LeaseID: new(b.ours)}
}

// lease is a client for the lease of the state under an id.
func (b *breaking) lease(id string) (*lease.BlobClient, error) {
	client, err := lease.NewBlobClient(b.client, &lease.BlobClientOptions{LeaseID: &id})
	if err != nil {
		return nil, fmt.Errorf("make a client for the lease: %w", err)
	}
	return client, nil
}
