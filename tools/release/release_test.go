package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const top = "../.."

// TestTwoBuildsGiveTheSameBytes builds linux/amd64 in two directories, as two people would.
func TestTwoBuildsGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it links the program twice")
	}
	one, other := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "at", "another", "place")
	copyTree(t, top, one)
	copyTree(t, one, other)
	var sums []string
	for _, source := range []string{one, other} {
		out := t.TempDir()
		err := run(t.Context(), []string{"build", "--version", "v1.2.3", "--source", source, "--out", out, "--time", "1760000000", "--platform", "linux/amd64"})
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, read(t, filepath.Join(out, checksumsFile)))
		if len(sums) == 1 {
			look(t, out, source)
		}
	}
	if diff := cmp.Diff(sums[0], sums[1]); diff != "" {
		t.Errorf("the second build gives other bytes:\n%s", diff)
	}
}

// look holds a build's files to what they are for.
func look(t *testing.T, out, source string) {
	t.Helper()
	archive, err := os.Open(filepath.Join(out, "switchyard_v1.2.3_linux_amd64.tar.gz")) //nolint:gosec // of the test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = archive.Close() }() // opened for reading
	packed, err := gzip.NewReader(archive)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for files := tar.NewReader(packed); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, fmt.Sprintf("%s %o %d:%d %d", header.Name, header.Mode, header.Uid, header.Gid, header.ModTime.Unix()))
		if header.Name != "switchyard" {
			continue
		}
		program := filepath.Join(t.TempDir(), "switchyard")
		data, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, data, 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
		if said, err := exec.CommandContext(t.Context(), program, "version").Output(); err != nil || string(said) != "switchyard v1.2.3\n" {
			t.Errorf("the program says %q, %v", said, err)
		}
		if bytes.Contains(data, []byte(source)) {
			t.Error("the program names the directory that it was built in")
		}
	}
	if diff := cmp.Diff([]string{"switchyard 755 0:0 1760000000", "LICENSE 644 0:0 1760000000"}, names); diff != "" {
		t.Errorf("files in the archive:\n%s", diff)
	}
	var list bill
	if err := json.Unmarshal([]byte(read(t, filepath.Join(out, "switchyard_v1.2.3_linux_amd64.cdx.json"))), &list); err != nil {
		t.Fatal(err)
	}
	parts := map[string]bool{}
	for _, part := range list.Components {
		parts[part.Name] = len(part.Hashes) == 1 || part.Name == "std"
	}
	for _, name := range []string{"std", "github.com/google/go-github/v66", "modernc.org/sqlite"} {
		if !parts[name] {
			t.Errorf("the bill of materials lacks %s, or its hash", name)
		}
	}
}

// copyTree copies what a build reads.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // another test has removed it
			}
			return err
		}
		inside, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") && inside != "." || entry.Name() == "dist") {
			return filepath.SkipDir
		}
		info, err := entry.Info()
		const most = 4 << 20 // what somebody has built and left
		if err != nil || !entry.Type().IsRegular() || info.Size() > most || strings.HasSuffix(path, "_test.go") {
			return nil //nolint:nilerr // as above
		}
		data, err := os.ReadFile(path) //nolint:gosec // of the repository
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Join(to, filepath.Dir(inside)), 0o750); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, inside), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name) //nolint:gosec // of the test
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// repository is a git repository with the files that a release changes.
func repository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range append([]string{"container/checksums.txt", "container/action.yml", "action.yml"}, append(callers, short...)...) {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(read(t, filepath.Join(top, name))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"init", "--quiet"}, {"config", "user.name", "t"}, {"config", "user.email", "t@example.com"}, {"add", "."}, {"commit", "--quiet", "--message", "a"},
	} {
		git(t, dir, args...)
	}
	return dir
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// sums is a checksums.txt of all platforms and their bills.
func sums(version string) string {
	var text strings.Builder
	for i, platform := range platforms {
		stem := "switchyard_" + version + "_" + strings.ReplaceAll(platform, "/", "_")
		fmt.Fprintf(&text, "%064x  %s.cdx.json\n%064x  %s.tar.gz\n", i+100, stem, i+1, stem)
	}
	return text.String()
}

var digest = "sha256:" + strings.Repeat("ab", 32)

func commit(t *testing.T, dir, version, image, checksums string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "checksums.txt")
	if err := os.WriteFile(file, []byte(checksums), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t.Context(), []string{"commit", "--version", version, "--source", dir, "--checksums", file, "--image", image})
}

func TestAReleasePinsItself(t *testing.T) {
	t.Parallel()
	dir := repository(t)
	for _, version := range []string{"v1.2.3", "v1.3.0-rc.1"} { // the second replaces what the first has pinned
		if err := commit(t, dir, version, digest, sums(version)); err != nil {
			t.Fatal(err)
		}
		checksums := read(t, filepath.Join(dir, "container/checksums.txt"))
		if strings.Count(checksums, "_"+version+"_") != len(platforms) || strings.Count(checksums, "\n") != len(platforms)+2 {
			t.Errorf("checksums.txt:\n%s", checksums)
		}
		if !strings.Contains(read(t, filepath.Join(dir, "container/action.yml")), "@"+digest+"\n") {
			t.Error("container/action.yml does not name the image")
		}
		used := regexp.MustCompile(`(?m)^ *uses: switchyard-dev/switchyard(\S*)@([0-9a-f]{40}) # (\S+?)(; .*)?$`)
		for _, name := range append(callers, short...) {
			text := read(t, filepath.Join(dir, name))
			found := used.FindAllStringSubmatch(text, -1)
			if len(found) == 0 || strings.Count(text, "uses: switchyard-dev/") != len(found) || strings.Contains(text, "@RELEASE") {
				t.Errorf("%s is not pinned:\n%s", name, text)
			}
			for _, match := range found {
				path := strings.TrimPrefix(match[1], "/")
				if !strings.HasSuffix(path, ".yml") {
					path = filepath.Join(path, "action.yml")
				}
				git(t, dir, "merge-base", "--is-ancestor", match[2], version)
				git(t, dir, "cat-file", "-e", match[2]+":"+path)
				if git(t, dir, "diff", "--stat", match[2], version, "--", "action.yml", "container", path) != "" || match[3] != version {
					t.Errorf("%s uses %s, which is not what %s has", name, match[0], version)
				}
			}
		}
		if strings.Count(read(t, filepath.Join(dir, callers[0])), "; on machines without Docker: switchyard-dev/switchyard@") != 2 {
			t.Error("what a comment teaches is lost")
		}
	}
}

func TestAReleaseThatIsNoneChangesNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ version, image, checksums, says string }{
		"a version that is none":           {"1.2.3", digest, sums("v1.2.3"), "write v1.2.3"},
		"a version that would be a path":   {"v1.2.3/../x", digest, sums("v1.2.3"), "write v1.2.3"},
		"an image without digest":          {"v1.2.3", "latest", sums("v1.2.3"), "digest"},
		"the digest that stands for none":  {"v1.2.3", "sha256:" + strings.Repeat("0", 64), sums("v1.2.3"), "digest"},
		"checksums of another version":     {"v1.2.3", digest, sums("v1.2.2"), "no archive of v1.2.3 for linux/amd64"},
		"checksums of only some platforms": {"v1.2.3", digest, strings.ReplaceAll(sums("v1.2.3"), "windows_arm64", "plan9_arm64"), "windows/arm64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := repository(t)
			err := commit(t, dir, c.version, c.image, c.checksums)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if status := git(t, dir, "status", "--short"); status != "" {
				t.Errorf("changed: %s", status)
			}
		})
	}
}
