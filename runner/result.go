package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// Bounds of a result.
const (
	MaxChanges    = 2000    // changes per target, and unexpected ones
	MaxError      = 8 << 10 // an error text, in bytes
	MaxResultSize = 8 << 20 // the file, in bytes
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
		if len(target.Unexpected) > changes {
			kept := plan.Cap(operation.ChangeSet{Changes: target.Unexpected}, changes)
			target.Unexpected, target.UnexpectedOmitted = kept.Changes, target.UnexpectedOmitted+kept.Omitted
		}
		target.Notes = capNotes(target.Notes, text)
		target.Error = clip(target.Error, text)
		targets = append(targets, target)
	}
	result.Targets = targets
	return result
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
