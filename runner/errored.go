package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/statelock"
	"github.com/switchyard-dev/switchyard/terraform"
)

// erroredState is where Terraform writes a state that it could not save.
// https://developer.hashicorp.com/terraform/cli/state/recover
const erroredState = "errored.tfstate"

// How a state that could not be saved is saved after all.
const (
	pushTries    = 3
	pushPause    = time.Second      // before the second try; it doubles
	pushLockWait = 10 * time.Second // for a lock that Terraform has just let go of
	saveLimit    = 3 * time.Minute  // of everything together
	stoppedLimit = 5 * time.Second  // of pushing, in a job that GitHub is about to end
)

// saveErrored finds a state that Terraform could not save a place: where it belongs, in a blob beside that, encrypted in an artifact,
// or where nothing on this machine removes it. It says which, and what to do; empty when there is no such state.
func (j *job) saveErrored(ctx context.Context, p *planned, key string, result *operation.TargetResult) string {
	file := filepath.Join(p.dir, erroredState)
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveLimit) // also, and above all, when we are to stop
	defer cancel()
	failure := j.pushAgain(limited, p, ctx.Err() != nil)
	if failure == nil {
		result.Unsaved = &operation.Unsaved{Kept: operation.KeptPushed, Next: "/apply " + result.Target.Environment}
		_ = os.Remove(file) // it goes with the checkout otherwise
		return "Terraform could not save the new state at first. It was saved when it was asked once more: nothing is lost. " +
			"Next: `/apply " + result.Target.Environment + "`, which finds what is left to do."
	}
	kept, problems := j.keepErrored(limited, p, file, key)
	result.Unsaved = &kept
	return unsavedText(kept, failure, problems, j.task.Passing)
}

// pushAgain has Terraform save the state once more. Terraform compares lineage and serial with the state that is there, and takes its lock.
func (j *job) pushAgain(ctx context.Context, p *planned, stopping bool) error {
	tries, wait := pushTries, pushLockWait
	if stopping {
		limited, cancel := context.WithTimeout(ctx, stoppedLimit)
		defer cancel()
		ctx, tries, wait = limited, 1, 0
	}
	pause := pushPause
	for {
		err := p.root.StatePush(ctx, erroredState, wait)
		tries--
		var exit *terraform.Error
		if err == nil || tries == 0 || (errors.As(err, &exit) && (exit.Lock != nil || terraform.RefusesState(exit.Output))) {
			return err //nolint:wrapcheck // says which command
		}
		select {
		case <-ctx.Done():
			return err //nolint:wrapcheck // as above
		case <-j.clock.After(pause):
			pause *= 2
		}
	}
}

// keepErrored keeps a state that could not be pushed. The problems say why it is not in a better place.
func (j *job) keepErrored(ctx context.Context, p *planned, file, key string) (operation.Unsaved, []string) {
	var problems []string
	if p.backend.Type == statelock.Azurerm {
		kept, err := j.keepBlob(ctx, p)
		if err == nil {
			return kept, j.removeClear(file)
		}
		problems = append(problems, fmt.Sprintf("It could not be written beside the state: %v.", err))
	}
	if j.task.Recipient != "" && j.task.UnsavedTo != "" {
		kept, err := j.keepEncrypted(p)
		if err == nil {
			return kept, append(problems, j.removeClear(file)...)
		}
		problems = append(problems, fmt.Sprintf("It could not be encrypted: %v.", err))
	}
	number := fmt.Sprintf("%d-%d-", j.task.Operation, j.task.Attempt)
	kept := j.work.path("errored", number+key+".tfstate")
	if _, err := os.Lstat(kept); !errors.Is(err, fs.ErrNotExist) { // without a server, numbers begin anew in each job
		kept = j.work.path("errored", number+j.task.Launch+"-"+key+".tfstate")
	}
	if os.MkdirAll(filepath.Dir(kept), privateDir) != nil || os.Rename(file, kept) != nil {
		j.keepTree, kept = true, file
	}
	return operation.Unsaved{Kept: operation.KeptMachine, Place: kept, Next: "terraform state push " + kept}, problems
}

// removeClear removes what has been put elsewhere.
func (j *job) removeClear(file string) []string {
	if err := os.Remove(file); err != nil {
		return []string{"Its file in the checkout could not be removed."}
	}
	return nil
}

// openErrored opens the state. Processes of the repository are gone, but what they left may be a link or no file.
func (j *job) openErrored(p *planned) (*os.File, error) {
	dir, err := filepath.Rel(j.work.tree(), p.dir)
	if err != nil {
		return nil, fmt.Errorf("find the state: %w", err)
	}
	name := path.Join(filepath.ToSlash(dir), erroredState)
	if info, err := j.tree.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("it is no file")
	}
	file, err := j.tree.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the state: %w", err)
	}
	return file, nil
}

// keepBlob writes the state beside the one that is there: whoever may read that may read this.
func (j *job) keepBlob(ctx context.Context, p *planned) (operation.Unsaved, error) {
	state, err := statelock.OpenState(ctx, p.backend.Config, j.task.Env)
	if err != nil {
		return operation.Unsaved{}, err //nolint:wrapcheck // a sentence for people
	}
	number := fmt.Sprintf(".errored-%d", j.task.Operation)
	again := fmt.Sprintf("%s.%d", number, j.task.Attempt)
	for _, suffix := range []string{number, again, again + "." + j.task.Launch} { // without a server, numbers begin anew in each job
		file, err := j.openErrored(p) // the client closes it
		if err != nil {
			return operation.Unsaved{}, err
		}
		name, err := state.Keep(ctx, suffix, file)
		_ = file.Close() // read from
		switch {
		case errors.Is(err, statelock.ErrExists): // of an earlier attempt or job
			continue
		case err != nil:
			return operation.Unsaved{}, err //nolint:wrapcheck // says what failed
		}
		return operation.Unsaved{
			Kept: operation.KeptBlob, Place: state.Account() + "/" + state.Container() + "/" + name, Next: state.Recover(name),
		}, nil
	}
	return operation.Unsaved{}, statelock.ErrExists
}

// keepEncrypted encrypts the state to a file that the job uploads.
func (j *job) keepEncrypted(p *planned) (kept operation.Unsaved, err error) {
	to, err := recipients(j.task.Recipient)
	if err != nil {
		return kept, err
	}
	from, err := j.openErrored(p)
	if err != nil {
		return kept, err
	}
	defer func() { _ = from.Close() }() // read from
	name := j.task.UnsavedTo
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the job's own path
	if err != nil {
		return kept, fmt.Errorf("make file: %w", err)
	}
	if err := errors.Join(encrypt(file, from, to), file.Sync(), file.Close()); err != nil {
		return kept, errors.Join(err, os.Remove(name))
	}
	artifact := operation.UnsavedArtifact(j.task)
	next := "gh run download --name " + artifact
	if repo := j.task.Repository.FullName(); repo != "/" {
		next += " --repo " + word(repo)
	}
	next += fmt.Sprintf("\nage --decrypt --identity KEY_FILE --output %s %s\nterraform state push %s",
		erroredState, operation.UnsavedFile, erroredState)
	return operation.Unsaved{Kept: operation.KeptArtifact, Place: artifact, Next: next}, nil
}

func encrypt(to io.Writer, from io.Reader, recipients []age.Recipient) error {
	in, err := age.Encrypt(to, recipients...)
	if err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	if _, err := io.Copy(in, from); err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	if err := in.Close(); err != nil {
		return fmt.Errorf("encrypt: %w", err)
	}
	return nil
}

// recipients reads an age recipient; none is no error.
// https://pkg.go.dev/filippo.io/age#ParseRecipients
func recipients(text string) ([]age.Recipient, error) {
	if text == "" {
		return nil, nil
	}
	list, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil {
		return nil, errors.New("the input age-recipient is no public key of age: it begins with `age1`, and `age-keygen -y` prints it")
	}
	return list, nil
}

// word quotes a word of a command line that a person copies, where it has to be.
func word(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// unsavedText says where the state is, why it is not where it belongs, and what to do.
func unsavedText(kept operation.Unsaved, failure error, problems []string, passing bool) string {
	text := "Terraform could not save the new state, and not when it was asked again. "
	switch kept.Kept {
	case operation.KeptBlob:
		text += "It is in the blob " + kept.Place + ", beside the state."
	case operation.KeptArtifact:
		text += "It is encrypted in the artifact " + kept.Place + " of the workflow run."
	case operation.KeptMachine:
		text += "It is kept in " + kept.Place + " on the machine that ran this."
		if passing {
			text += " That machine is about to be cleared: with the input `age-recipient`, the state would be kept."
		}
	case operation.KeptPushed:
	}
	text = strings.Join(append([]string{text}, problems...), " ")
	var exit *terraform.Error
	switch {
	case !errors.As(failure, &exit):
	case terraform.RefusesState(exit.Output):
		text += " The state that is there was written by somebody else meanwhile: compare the two before one is made the other."
	case exit.Lock != nil && exit.Lock.ID != "":
		text += " Its lock is still held, by " + word(exit.Lock.ID) + ": before that, break it with `/break-lease`."
	case exit.Lock != nil:
		text += " Its lock is still held: before that, break it with `/break-lease`."
	}
	return text + " Next, in the directory of the root, after `terraform init`:\n\n    " + strings.ReplaceAll(kept.Next, "\n", "\n    ")
}

// lockAfter says what the state lock is after a Terraform of an apply that was stopped or killed, and notes who holds it. Where that
// cannot be found out, a lock without anything is noted: somebody has to look.
func (j *job) lockAfter(ctx context.Context, p *planned, result *operation.TargetResult, err error) string {
	exit, ok := errors.AsType[*terraform.Error](err)
	if !ok || exit.Err == nil || j.task.Kind != operation.Apply || exit.Stopped == nil && !exit.MayKeepLock() {
		return ""
	}
	// The http backend is asked by taking the lock: not where Terraform has just given it back, and this program may be about to be killed.
	if exit.MayKeepLock() || p.backend.Type == statelock.Azurerm {
		said, known := j.askLock(ctx, p, result, exit.Stopped != nil)
		if known && result.Found == nil && exit.Stopped == nil {
			said += " Next, when the cause is gone: `" + j.task.Kind.Again(result.Target.Environment) + "`."
		}
		if known {
			return said
		}
	}
	if !exit.MayKeepLock() {
		return "Terraform stopped by itself, saved what it had done and released the state lock."
	}
	result.Lock = &operation.LockInfo{}
	const unsure = "The state lock may still be held, and what it did last may not be in the state."
	next := " Next, when nothing works on the state any more: `" + breakAgain(result.Target) + "`, which says who holds it."
	switch {
	case exit.Stopped != nil && exit.Killed() != "":
		return "Terraform did not stop in time and was killed. " + unsure + next
	case exit.Killed() != "": // which is said already
		return "The state lock may still be held." + next
	case exit.LeftAtOnce():
		return "Terraform was told twice to stop, and left at once. " + unsure + next
	default:
		return "Terraform could not release the state lock." + next
	}
}

// breakAgain is the command that explains a target's lock before it is broken.
func breakAgain(target operation.Target) string {
	return operation.BreakLease.Again(target.Environment) + " " + target.Root
}

// askLock asks the store that has the state, and notes what it found. known is false where that gave no answer.
func (j *job) askLock(ctx context.Context, p *planned, result *operation.TargetResult, stopping bool) (said string, known bool) {
	limit := metLimit
	if stopping {
		limit = stoppedLimit
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	store, err := j.openLock(limited, p)
	if err != nil {
		return "", false
	}
	return askLockOf(limited, store, result)
}

// askLockOf is askLock of a store that was opened.
func askLockOf(ctx context.Context, store statelock.Lock, result *operation.TargetResult) (said string, known bool) {
	found, err := store.Inspect(ctx)
	switch {
	case err != nil:
		return "", false
	case found.Lease != operation.LeaseHeld:
		return "The state lock is free.", true
	}
	result.Found, result.Lock = &found, &operation.LockInfo{}
	said = "The state lock is still held"
	if found.Info != nil {
		if result.Lock = found.Info; !takenHere(found.Info.Who) {
			result.Lock = nil // somebody was quicker before this apply had it, or after it had given it back
		}
		if found.Info.Who != "" {
			said += " by " + found.Info.Who
		}
	}
	return said + ". Next, when nothing works on the state any more: `" + breakAgain(result.Target) + "`.", true
}

// takenHere reports whether a lock names this machine as the one of its holder, in the form in which Terraform does: a name, and behind
// an at sign the machine's.
// https://github.com/hashicorp/terraform/blob/v1.11.4/internal/states/statemgr/locker.go
func takenHere(who string) bool {
	machine, err := os.Hostname()
	_, named, is := strings.Cut(who, "@")
	return err == nil && is && named == machine
}
