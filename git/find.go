package git

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// The oldest git that this package is tested with. merge-tree --write-tree came with 2.38.
// https://github.com/git/git/blob/master/Documentation/RelNotes/2.38.0.txt
const (
	oldestMajor = 2
	oldestMinor = 39
)

// findLimit bounds how long git may take to tell its version.
const findLimit = 10 * time.Second

// Find looks for git on PATH and makes sure that it is new enough. A server asks at its start, so that nobody finds out at the
// first webhook. The error says what to do.
func Find(ctx context.Context) (path string, err error) {
	const install = "install git 2.39 or newer, for example with `apt-get install git`"
	path, err = exec.LookPath("git")
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("git is not on PATH: " + install + ", or put its directory on PATH")
	}
	if err != nil {
		return "", fmt.Errorf("look for git on PATH: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, findLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env = []string{"LC_ALL=C"}
	answer, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", path, err)
	}
	major, minor, ok := versionOf(string(answer))
	if !ok {
		return "", fmt.Errorf("%s is not git: its version is %.100q", path, answer)
	}
	if major < oldestMajor || major == oldestMajor && minor < oldestMinor {
		return "", fmt.Errorf("git %d.%d (%s) is too old: %s", major, minor, path, install)
	}
	return path, nil
}

// versionOf reads what `git version` prints: git version 2.39.5 (Apple Git-154).
func versionOf(answer string) (major, minor int, ok bool) {
	match := regexp.MustCompile(`^git version (\d+)\.(\d+)`).FindStringSubmatch(answer)
	if match == nil {
		return 0, 0, false
	}
	major, majorErr := strconv.Atoi(match[1])
	minor, minorErr := strconv.Atoi(match[2])
	return major, minor, majorErr == nil && minorErr == nil
}
