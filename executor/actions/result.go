package actions

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// Bounds of what is taken from a run. A runner keeps its result within 8 MiB.
const (
	maxArchive = 10 << 20  // bytes of the archive
	maxResult  = 9 << 20   // bytes of the file in it
	maxRatio   = 200       // by how much it may be compressed, above
	freeRatio  = 64 << 10  // bytes
	maxText    = 64 << 10  // bytes of one text
	maxLock    = 300 << 10 // bytes of a lock file
	maxItems   = 5_000     // of one list
	maxDepth   = 64        // of values within each other
)

// unpack gives the one file of an archive. Nothing is written anywhere, so that no name in it leads anywhere.
func unpack(archive []byte) ([]byte, error) {
	reader, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, errors.New("it is no archive")
	}
	if len(reader.File) != 1 {
		return nil, fmt.Errorf("the archive has %d files, not one", len(reader.File))
	}
	file := reader.File[0]
	switch {
	case file.Name != operation.ResultFile:
		return nil, fmt.Errorf("the archive has `%s`, not `%s`", clip(file.Name), operation.ResultFile)
	case !file.Mode().IsRegular():
		return nil, errors.New("what the archive has is no ordinary file")
	case file.UncompressedSize64 > maxResult:
		return nil, fmt.Errorf("it has %d bytes, and at most %d are taken", file.UncompressedSize64, maxResult)
	case file.UncompressedSize64 > freeRatio && file.UncompressedSize64 > maxRatio*file.CompressedSize64:
		return nil, errors.New("it is compressed more than any result can be")
	}
	content, err := file.Open()
	if err != nil {
		return nil, errors.New("the archive is damaged")
	}
	defer func() { _ = content.Close() }() // it is read only
	data, err := io.ReadAll(io.LimitReader(content, maxResult+1))
	if err != nil {
		return nil, errors.New("the archive is damaged")
	}
	if len(data) > maxResult || uint64(len(data)) != file.UncompressedSize64 {
		return nil, errors.New("the archive does not tell the truth about its size")
	}
	return data, nil
}

// read decodes the result of one job of a task and refuses what no runner of ours would write. A plan's result stays a claim: code of
// the pull request ran in its job.
func read(data []byte, task operation.Task, shard int) (operation.Result, error) {
	var result operation.Result
	if !utf8.Valid(data) {
		return result, errors.New("it is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&result); err != nil {
		return result, fmt.Errorf("it is not of the form of a result: %s", clip(err.Error()))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return result, errors.New("something follows the result")
	}
	if err := bounded(reflect.ValueOf(result), "result", 0); err != nil {
		return result, err
	}
	return result, fits(result, task, shard)
}

// fits says what of a result does not fit what the job was told to do.
func fits(result operation.Result, task operation.Task, shard int) error {
	switch {
	case result.Version != operation.ContractVersion:
		return fmt.Errorf("it has version %d, and this server reads version %d", result.Version, operation.ContractVersion)
	case result.Operation != task.Operation || result.Attempt != task.Attempt || result.Launch != task.Launch:
		return fmt.Errorf("it is of operation %d, attempt %d, of another start than this", result.Operation, result.Attempt)
	case result.Commit != task.Commit:
		return fmt.Errorf("it is of commit %s", clip(result.Commit))
	case result.Stopped != "" && result.Stopped != "cancelled" && result.Stopped != "time limit":
		return fmt.Errorf("it was stopped by `%s`", clip(result.Stopped))
	case result.Ended.Before(result.Started):
		return errors.New("it ended before it began")
	case task.Kind != operation.Apply && result.Question != "":
		return fmt.Errorf("a %s asks nothing", task.Kind)
	}
	expected := shardTargets(task, shard)
	seen := map[operation.Target]bool{}
	for _, target := range result.Targets {
		switch {
		case !slices.Contains(expected, target.Target):
			return fmt.Errorf("it has the target `%s`, which was not asked for", clip(target.Target.String()))
		case seen[target.Target]:
			return fmt.Errorf("it has the target `%s` twice", clip(target.Target.String()))
		}
		seen[target.Target] = true
		if err := fitsTarget(target, task.Kind); err != nil {
			return fmt.Errorf("target `%s`: %w", clip(target.Target.String()), err)
		}
	}
	if len(seen) < len(expected) && result.Error == "" && result.Stopped == "" {
		return fmt.Errorf("it has %d of %d targets, and does not say why", len(seen), len(expected))
	}
	return nil
}

// fitsTarget says what in the result of a target cannot be.
func fitsTarget(target operation.TargetResult, kind operation.Kind) error {
	outcomes := append([]operation.Outcome{operation.TargetFailed, operation.Locked, operation.TargetStopped}, outcomesOf(kind)...)
	switch {
	case !slices.Contains(outcomes, target.Outcome):
		return fmt.Errorf("the outcome of a %s cannot be `%s`", kind, clip(string(target.Outcome)))
	case kind != operation.Apply && target.Timings.Apply != 0:
		return fmt.Errorf("a %s applies nothing", kind)
	case (target.Outcome == operation.Looked) && target.Found == nil, target.Outcome == operation.Released && target.Broken == nil:
		return errors.New("it does not say what was found")
	case kind != operation.BreakLease && target.Broken != nil:
		return fmt.Errorf("a %s breaks no lock", kind)
	case target.Timings.Init < 0 || target.Timings.Plan < 0 || target.Timings.Show < 0 || target.Timings.Apply < 0:
		return errors.New("something took less than no time")
	}
	for _, list := range [][]operation.Change{target.ChangeSet.Changes, target.Unexpected, target.Tolerated, target.Drift} {
		for _, change := range list {
			if !slices.Contains(actions(), change.Action) {
				return fmt.Errorf("`%s` is no action of Terraform", clip(string(change.Action)))
			}
		}
	}
	return fitsSet(target.ChangeSet)
}

// outcomesOf are the good ends of a kind, and those that are its own.
func outcomesOf(kind operation.Kind) []operation.Outcome {
	switch kind {
	case operation.ExplainLock:
		return []operation.Outcome{operation.Looked}
	case operation.BreakLease:
		return []operation.Outcome{operation.Released, operation.OtherLock}
	case operation.Apply:
		return []operation.Outcome{operation.Planned, operation.Unchanged, operation.Applied, operation.Different}
	case operation.Plan:
	}
	return []operation.Outcome{operation.Planned, operation.Unchanged}
}

// fitsSet says what in a set of changes contradicts itself.
func fitsSet(set operation.ChangeSet) error {
	counts := plan.Count(set.Changes)
	switch {
	case set.Omitted < 0:
		return errors.New("it leaves out fewer changes than none")
	case set.Omitted == 0 && counts != set.Counts:
		return errors.New("its counts are not those of its changes")
	case set.Omitted > 0 && fewer(set.Counts, counts):
		return errors.New("it counts fewer changes than it has")
	case set.Omitted == 0 && set.Digest != plan.Digest(set.Changes) && (set.Digest != "" || len(set.Changes) > 0):
		return errors.New("its digest is not that of its changes")
	default:
		return nil
	}
}

// fewer reports whether any of the counts of all changes is smaller than that of some of them.
func fewer(all, some operation.Counts) bool {
	return all.Add < some.Add || all.Change < some.Change || all.Destroy < some.Destroy || all.Replace < some.Replace ||
		all.Import < some.Import || all.Move < some.Move || all.Forget < some.Forget || all.Outputs < some.Outputs
}

// actions are all that a change can be.
func actions() []operation.Action {
	return []operation.Action{
		operation.Create, operation.Update, operation.Delete, operation.Replace, operation.ReplaceCreateFirst, operation.Read,
		operation.Move, operation.Import, operation.Forget, operation.Output,
	}
}

// bounded refuses lists and texts that are longer than a runner makes them, and numbers below 0, wherever in a result they are.
func bounded(v reflect.Value, path string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s is too deep", path)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return bounded(v.Elem(), path, depth+1)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return nil
		}
		for field, value := range v.Fields() {
			if err := bounded(value, path+"."+field.Name, depth+1); err != nil {
				return err
			}
		}
	case reflect.String:
		limit := maxText
		if path == "result.Targets.LockFile.Text" {
			limit = maxLock
		}
		if v.Len() > limit {
			return fmt.Errorf("%s has %d bytes, and at most %d are taken", path, v.Len(), limit)
		}
	case reflect.Slice:
		return boundedList(v, path, depth)
	case reflect.Map:
		if v.Len() > maxItems {
			return fmt.Errorf("%s has %d members, and at most %d are taken", path, v.Len(), maxItems)
		}
		for name, value := range v.Seq2() {
			if err := errors.Join(bounded(name, path, depth+1), bounded(value, path, depth+1)); err != nil {
				return err
			}
		}
	case reflect.Int, reflect.Int64:
		if v.Int() < 0 {
			return fmt.Errorf("%s is below 0", path)
		}
	default:
	}
	return nil
}

func boundedList(v reflect.Value, path string, depth int) error {
	limit := maxItems
	if v.Type().Elem().Kind() == reflect.Uint8 { // JSON as it is
		limit = maxText
	}
	if v.Len() > limit {
		return fmt.Errorf("%s has %d entries, and at most %d are taken", path, v.Len(), limit)
	}
	if limit == maxText {
		return nil
	}
	for i := range v.Len() {
		if err := bounded(v.Index(i), path, depth+1); err != nil {
			return err
		}
	}
	return nil
}
