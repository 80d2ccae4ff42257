package torture_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The stand-in for Terraform is the test binary under another name. It plans one terraform_data per *.tf file, whose
// input is the hash of the file, and writes each apply's begin and end to a journal beside it. In a root with a file
// named "real" it has the real Terraform, which is beside it as well, do the work in between.
const (
	journalFile = "journal"
	realBinary  = "real-terraform"
	realMarker  = "real"
)

// Exit statuses of the stand-in that no real one gives.
const (
	exitBroken  = 99
	exitOverlap = 98
)

// entry is one line of the journal.
type entry struct {
	At        time.Time `json:"at"`
	Target    string    `json:"target"` // name of the state file
	Operation int64     `json:"operation"`
	Attempt   int       `json:"attempt"`
	Real      bool      `json:"real"` // the real Terraform did it
	What      string    `json:"what"` // begin, end, overlap
}

// hold names what only one apply may have at a time: all the targets of an environment. The name of a state file is
// APP-ENVIRONMENT or APP-ROOT-ENVIRONMENT, and none of the three has a hyphen of its own.
func (e entry) hold() string {
	parts := strings.Split(strings.TrimSuffix(e.Target, ".tfstate"), "-")
	return parts[0] + "-" + parts[len(parts)-1]
}

// fakeState is the stand-in's state file.
type fakeState struct {
	Version   int               `json:"version"`
	Serial    int64             `json:"serial"`
	Lineage   string            `json:"lineage"`
	Resources map[string]string `json:"inputs"`
}

// playTerraform is the stand-in's main function.
func playTerraform() int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT) // an apply is never cut short: it takes a moment only
	dir := filepath.Dir(os.Args[0])
	if len(os.Args) < 2 {
		return exitBroken
	}
	status, err := actTerraform(dir, os.Args[1], os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		return exitBroken
	}
	return status
}

func actTerraform(dir, command string, args []string) (int, error) {
	if command == "version" {
		fmt.Println(`{"terraform_version":"1.11.4","platform":"linux_amd64","provider_selections":{},"terraform_outdated":false}`)
		return 0, nil
	}
	_, notReal := os.Stat(realMarker)
	if command == "init" {
		if err := fakeInit(args, notReal != nil); err != nil {
			return 0, err
		}
	}
	if notReal == nil {
		if command == "apply" {
			return journalled(dir, true, func() (int, error) { return runReal(dir) })
		}
		return runReal(dir)
	}
	switch command {
	case "init":
		return 0, nil
	case "plan":
		return 0, fakePlan(args)
	case "show":
		return 0, fakeShow(args[len(args)-1])
	case "apply":
		return journalled(dir, false, func() (int, error) { return 0, fakeApply(args[len(args)-1]) })
	default:
		return 0, fmt.Errorf("the stand-in has no command %q", command)
	}
}

// runReal runs the real Terraform with the arguments that the stand-in got.
func runReal(dir string) (int, error) {
	cmd := exec.Command(filepath.Join(dir, realBinary), os.Args[1:]...) //nolint:gosec,noctx // argv of our caller, who sets the limits
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// fakeInit remembers the backend's path, and does what the runner relies on.
func fakeInit(args []string, whole bool) error {
	data := os.Getenv("TF_DATA_DIR")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	var backend struct {
		Backend struct {
			Type   string            `json:"type"`
			Config map[string]string `json:"config"`
		} `json:"backend"`
	}
	for _, arg := range args {
		if path, ok := strings.CutPrefix(arg, "-backend-config=path="); ok {
			if err := os.WriteFile(filepath.Join(data, "path"), []byte(path), 0o600); err != nil || !whole {
				return err
			}
			backend.Backend.Type, backend.Backend.Config = "local", map[string]string{"path": path}
		}
	}
	text, err := json.Marshal(backend)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(data, "terraform.tfstate"), text, 0o600)
}

func statePath() (string, error) {
	path, err := os.ReadFile(filepath.Join(os.Getenv("TF_DATA_DIR"), "path"))
	return string(path), err
}

func readState(path string) (fakeState, error) {
	state := fakeState{Version: 4, Resources: map[string]string{}}
	data, err := os.ReadFile(path) //nolint:gosec // the test's
	if errors.Is(err, os.ErrNotExist) {
		return state, nil
	}
	if err != nil {
		return state, err
	}
	err = json.Unmarshal(data, &state)
	return state, err
}

// fakePlan compares the files with the state.
func fakePlan(args []string) error {
	path, err := statePath()
	if err != nil {
		return err
	}
	state, err := readState(path)
	if err != nil {
		return err
	}
	files, err := filepath.Glob("*.tf")
	if err != nil {
		return err
	}
	want := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // the test's
		if err != nil {
			return err
		}
		if name := strings.TrimSuffix(file, ".tf"); name != "main" { // which has the backend only
			want[name] = hashOf(data)
		}
	}
	shown, err := json.Marshal(map[string]any{
		"format_version": "1.2", "terraform_version": "1.11.4", "applyable": true, "complete": true,
		"resource_changes": changesOf(state.Resources, want),
	})
	if err != nil {
		return err
	}
	previous, err := json.Marshal(state)
	if err != nil {
		return err
	}
	wanted, err := json.Marshal(want)
	if err != nil {
		return err
	}
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg, "-out="); ok {
			return writeZip(name, map[string][]byte{"tfstate": previous, "shown": shown, "wanted": wanted, "path": []byte(path)})
		}
	}
	return errors.New("plan without -out")
}

// hashOf is what stands for the content of a file.
func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// resourcesIn are the resources of a state file: of the stand-in with their hashes, of the real Terraform by name only.
func resourcesIn(path string) (map[string]string, error) {
	state, err := readState(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Resources []struct{ Name string } `json:"resources"`
	}
	data, err := os.ReadFile(path) //nolint:gosec // the test's
	if errors.Is(err, os.ErrNotExist) {
		return state.Resources, nil
	}
	if err != nil {
		return nil, err
	}
	err = json.Unmarshal(data, &file)
	for _, resource := range file.Resources {
		state.Resources[resource.Name] = ""
	}
	return state.Resources, err
}

func changesOf(have, want map[string]string) []map[string]any {
	changes := []map[string]any{}
	names := maps.Clone(have)
	maps.Copy(names, want)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, had := have[name]
		after, wanted := want[name]
		change := map[string]any{
			"actions": []string{"no-op"}, "before": map[string]any{"input": before}, "after": map[string]any{"input": after},
			"after_unknown": map[string]any{}, "before_sensitive": map[string]any{}, "after_sensitive": map[string]any{},
		}
		switch {
		case !had:
			change["actions"], change["before"], change["after_unknown"] = []string{"create"}, nil, map[string]any{"id": true}
		case !wanted:
			change["actions"], change["after"] = []string{"delete"}, nil
		case before != after:
			change["actions"] = []string{"update"}
		}
		changes = append(changes, map[string]any{
			"address": "terraform_data." + name, "mode": "managed", "type": "terraform_data", "name": name,
			"provider_name": "terraform.io/builtin/terraform", "change": change,
		})
	}
	return changes
}

func fakeShow(plan string) error {
	members, err := readZip(plan)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(members["shown"])
	return err
}

// applyTakes is how long the stand-in needs between begin and end: so long that two at once would be seen, that others
// have to wait, and that servers are killed meanwhile.
const applyTakes = 700 * time.Millisecond

func fakeApply(plan string) error {
	members, err := readZip(plan)
	if err != nil {
		return err
	}
	var planned fakeState
	var want map[string]string
	if err := errors.Join(json.Unmarshal(members["tfstate"], &planned), json.Unmarshal(members["wanted"], &want)); err != nil {
		return err
	}
	path := string(members["path"])
	state, err := readState(path)
	if err != nil {
		return err
	}
	if state.Serial != planned.Serial {
		return fmt.Errorf("saved plan is stale: state has serial %d, the plan %d", state.Serial, planned.Serial)
	}
	<-time.After(applyTakes)
	state.Serial++
	state.Lineage, state.Resources = "line-"+filepath.Base(path), want
	data, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// attemptOf is in the name of an apply's work directory.
var attemptOf = regexp.MustCompile(`/apply-(\d+)-(\d+)(/|$)`) //nolint:gochecknoglobals // a constant in all but name

// journalled does an apply between its begin and its end.
func journalled(dir string, isReal bool, do func() (int, error)) (int, error) {
	path, err := statePath()
	if err != nil {
		return 0, err
	}
	cwd, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	found := attemptOf.FindStringSubmatch(cwd)
	if found == nil {
		return 0, fmt.Errorf("an apply in %s", cwd)
	}
	line := entry{Target: filepath.Base(path), Real: isReal}
	line.Operation, _ = strconv.ParseInt(found[1], 10, 64)
	line.Attempt, _ = strconv.Atoi(found[2])
	journal := filepath.Join(dir, journalFile)
	lock := filepath.Join(dir, line.hold()+".busy")
	if err := os.Mkdir(lock, 0o700); err != nil {
		return exitOverlap, errors.Join(line.write(journal, "overlap"), err)
	}
	if err := line.write(journal, "begin"); err != nil {
		return 0, err
	}
	status, err := do()
	return status, errors.Join(err, line.write(journal, "end"), os.Remove(lock))
}

func (e entry) write(journal, what string) error {
	e.What, e.At = what, time.Now()
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(journal, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600) //nolint:gosec // the test's
	if err != nil {
		return err
	}
	_, err = file.Write(append(data, '\n'))
	return errors.Join(err, file.Close())
}

// readJournal is all that the stand-ins have written, in order.
func readJournal(dir string) ([]entry, error) {
	data, err := os.ReadFile(filepath.Join(dir, journalFile)) //nolint:gosec // the test's
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var all []entry
	for line := range bytes.Lines(data) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func writeZip(name string, members map[string][]byte) error {
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	for _, member := range slices.Sorted(maps.Keys(members)) {
		w, err := archive.Create(member)
		if err != nil {
			return err
		}
		if _, err := w.Write(members[member]); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return os.WriteFile(name, buffer.Bytes(), 0o600)
}

func readZip(name string) (map[string][]byte, error) {
	archive, err := zip.OpenReader(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = archive.Close() }()
	members := map[string][]byte{}
	for _, file := range archive.File {
		r, err := file.Open()
		if err != nil {
			return nil, err
		}
		if members[file.Name], err = io.ReadAll(r); err != nil { //nolint:gosec // written by the stand-in
			return nil, err
		}
	}
	return members, nil
}
