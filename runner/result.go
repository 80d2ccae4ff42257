package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// Bounds of a result.
const (
	MaxChanges    = 2000      // changes per target; unexpected and tolerated ones, risks, data sources
	MaxDrift      = 200       // changes outside of Terraform, per target
	MaxError      = 8 << 10   // an error text, in bytes
	maxLockFile   = 256 << 10 // a dependency lock file, in bytes: some thousand hashes
	MaxResultSize = 8 << 20   // the file, in bytes
	leastError    = 256
)

// encodeResult writes a result as JSON that is at most limit bytes, leaving out changes (destroys last) and ends of errors.
func encodeResult(result operation.Result, limit int) ([]byte, error) {
	changes, text := MaxChanges, MaxError
	for {
		data, err := json.Marshal(capResult(result, changes, text))
		if err != nil {
			return nil, fmt.Errorf("encode result: %w", err)
		}
		if len(data) <= limit || (changes == 0 && text <= leastError) {
			return data, nil
		}
		changes, text = changes/2, max(text/2, leastError) //nolint:mnd // by halves
	}
}

// capResult gives a copy that keeps the bounds.
func capResult(result operation.Result, changes, text int) operation.Result {
	result.Error = clip(result.Error, text)
	targets := make([]operation.TargetResult, 0, len(result.Targets))
	for _, target := range result.Targets {
		target.ChangeSet = plan.Cap(target.ChangeSet, changes)
		var omitted int
		target.Unexpected, omitted = capChanges(target.Unexpected, changes)
		target.UnexpectedOmitted += omitted
		target.Tolerated, _ = capChanges(target.Tolerated, changes)
		target.Drift, _ = capChanges(target.Drift, min(changes, MaxDrift))
		target.RisksOmitted += max(0, len(target.Risks)-changes)
		target.Risks = target.Risks[:min(len(target.Risks), changes)]
		target.Blocked = target.Blocked[:min(len(target.Blocked), max(changes, 1))] // one is enough to know that it is blocked
		target.Held = target.Held[:min(len(target.Held), max(changes, 1))]
		target.Data = capData(target.Data, changes)
		target.Notes = capNotes(target.Notes, text)
		target.Error = clip(target.Error, text)
		target.Found = capFound(target.Found, text)
		if target.Broken != nil {
			broken := *target.Broken
			broken.Made, broken.Left = broken.Made[:min(len(broken.Made), changes)], broken.Left[:min(len(broken.Left), changes)]
			broken.Problem, broken.Untried, broken.Now = clip(broken.Problem, text), clip(broken.Untried, text), capFound(broken.Now, text)
			target.Broken = &broken
		}
		targets = append(targets, target)
	}
	result.Targets = targets
	return result
}

// maxFound bounds the lists of what was found of a lock.
const maxFound = 200

// capFound gives a copy of what was found of a lock that keeps the bounds.
func capFound(found *operation.StateLock, text int) *operation.StateLock {
	if found == nil {
		return nil
	}
	capped := *found
	capped.Tainted = capped.Tainted[:min(len(capped.Tainted), maxFound)]
	capped.Errored = capped.Errored[:min(len(capped.Errored), maxFound)]
	capped.Notes = capNotes(capped.Notes, text)
	return &capped
}

// capChanges keeps at most limit changes (at least one) and counts the others. What destroys is kept before the rest.
func capChanges(changes []operation.Change, limit int) ([]operation.Change, int) {
	if len(changes) <= limit {
		return changes, 0
	}
	kept := plan.Cap(operation.ChangeSet{Changes: changes}, limit)
	return kept.Changes, kept.Omitted
}

// capData keeps the hashes of the first data sources, by address.
func capData(data map[string]string, limit int) map[string]string {
	if len(data) <= limit {
		return data
	}
	kept := map[string]string{}
	for _, address := range slices.Sorted(maps.Keys(data))[:limit] {
		kept[address] = data[address]
	}
	return kept
}

// clip cuts the middle out of a text that is longer than limit bytes: errors say what failed first, and what to do last.
func clip(s string, limit int) string {
	const gap = "\n[…]\n"
	if len(s) <= limit {
		return s
	}
	if limit < 2*len(gap) {
		return strings.ToValidUTF8(s[:limit], "")
	}
	head := (limit - len(gap)) * 2 / 3 //nolint:mnd // most of it is the beginning
	tail := limit - len(gap) - head
	return strings.ToValidUTF8(s[:head], "") + gap + strings.ToValidUTF8(s[len(s)-tail:], "")
}

// writeResult writes the file by rename, so that whoever finds it finds all of it.
func writeResult(path string, result operation.Result) (err error) {
	data, err := encodeResult(result, MaxResultSize)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".result-*")
	if err != nil {
		return fmt.Errorf("make result file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, writeErr := file.Write(data)
	if err := errors.Join(writeErr, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return fmt.Errorf("name result: %w", err)
	}
	return nil
}
