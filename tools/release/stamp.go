package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

type stampCommand struct {
	Version   string `required:"" help:"Version of the release: v1.2.3."`
	Source    string `default:"." type:"existingdir" help:"Directory of the repository."`
	Checksums string `default:"dist/checksums.txt" help:"What build has made."`
	Image     string `required:"" help:"Digest of the image of the container action: sha256:…"`
}

// Run writes container/checksums.txt and the digest in container/action.yml.
func (c stampCommand) Run() error {
	if err := checkVersion(c.Version); err != nil {
		return err
	}
	if !digestForm.MatchString(c.Image) || strings.HasSuffix(c.Image, strings.Repeat("0", 64)) { // zeros stand for no release
		return errNoDigest
	}
	sums, err := c.checksums()
	if err != nil {
		return err
	}
	file := filepath.Join(c.Source, "container", checksumsFile)
	if err := rewrite(file, func(old string) (string, error) { return comments(old) + sums, nil }); err != nil {
		return err
	}
	return rewrite(filepath.Join(c.Source, "container", "action.yml"), func(old string) (string, error) {
		pin := regexp.MustCompile(`(?m)^(  image: docker://[^@\s]+@)sha256:[0-9a-f]{64}$`)
		if len(pin.FindAllString(old, -1)) != 1 {
			return "", errors.New("it does not have one image with a digest")
		}
		return pin.ReplaceAllString(old, "${1}"+c.Image), nil
	})
}

// checksums are those of the archives: all of them, and of this version.
func (c stampCommand) checksums() (string, error) {
	data, err := os.ReadFile(c.Checksums)
	if err != nil {
		return "", fmt.Errorf("read checksums: %w", err)
	}
	form := regexp.MustCompile(`^[0-9a-f]{64}  switchyard_` + regexp.QuoteMeta(c.Version) + `_([a-z]+)_([a-z0-9]+)\.tar\.gz$`)
	var lines, found []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if match := form.FindStringSubmatch(line); match != nil {
			lines, found = append(lines, line), append(found, match[1]+"/"+match[2])
		}
	}
	for _, platform := range platforms {
		if !slices.Contains(found, platform) {
			return "", fmt.Errorf("%s has no archive of %s for %s", c.Checksums, c.Version, platform)
		}
	}
	return strings.Join(lines, "\n") + "\n", nil
}

// comments are the lines that explain the file.
func comments(text string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

func rewrite(name string, change func(string) (string, error)) error {
	old, err := os.ReadFile(name) //nolint:gosec // of the repository
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	text, err := change(string(old))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil { //nolint:gosec // a file of the repository
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// The files that name our own actions, and the one that names our own workflow.
var (
	callers = []string{
		"workflows-templates/switchyard.yml", "workflows-templates/switchyard-alone.yml", "workflows-templates/switchyard-break-lease.yml",
		".github/workflows/run.yml",
	}
	short = []string{"workflows-templates/switchyard-short.yml"}
)

// Our own actions and our own workflow where something uses them. What stood behind them as a version goes with it.
var (
	ourAction   = regexp.MustCompile(`(switchyard-dev/switchyard(?:/container)?)@[0-9A-Za-z.-]+(?: # v\d[0-9A-Za-z.-]*;?)?`)
	ourWorkflow = regexp.MustCompile(`(switchyard-dev/switchyard/\.github/workflows/run\.yml)@[0-9A-Za-z.-]+(?: # v\d[0-9A-Za-z.-]*)?`)
)

// pin has the files use ours at a commit. A comment that follows in the line stays, behind the version.
func pin(source string, files []string, what *regexp.Regexp, commit, version string) error {
	for _, file := range files {
		err := rewrite(filepath.Join(source, file), func(old string) (string, error) {
			var text strings.Builder
			for line := range strings.Lines(old) {
				text.WriteString(pinLine(line, what, commit, version))
			}
			return text.String(), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pinLine changes the first mention of a line that uses it, and its comment.
func pinLine(line string, what *regexp.Regexp, commit, version string) string {
	if !strings.HasPrefix(strings.TrimLeft(line, " -"), "uses: ") || !what.MatchString(line) {
		return line
	}
	before, comment, commented := strings.Cut(strings.TrimSuffix(line, "\n"), " #")
	if rest := regexp.MustCompile(`^ v\d[0-9A-Za-z.-]*(?:; |$)`); commented {
		comment = strings.TrimPrefix(rest.ReplaceAllString(comment, ""), " ")
	}
	line = what.ReplaceAllString(before, "${1}@"+commit) + " # " + version
	if comment != "" {
		line += "; " + what.ReplaceAllString(comment, "${1}@"+commit)
	}
	return line + "\n"
}

type commitCommand struct {
	stampCommand `embed:""`
}

// Run makes three commits and the tag. A file cannot name the commit that it is in, so each of them names the one before: first the
// files of the action, then the workflows that use it, then the one that calls such a workflow. All are reachable from the tag.
func (c commitCommand) Run(ctx context.Context) error {
	if err := c.stampCommand.Run(); err != nil {
		return err
	}
	action, err := c.commit(ctx, "Release "+c.Version, "container/checksums.txt", "container/action.yml")
	if err != nil {
		return err
	}
	if err := pin(c.Source, callers, ourAction, action, c.Version); err != nil {
		return err
	}
	called, err := c.commit(ctx, "Workflows use "+c.Version, callers...)
	if err != nil {
		return err
	}
	if err := pin(c.Source, short, ourWorkflow, called, c.Version); err != nil {
		return err
	}
	if _, err := c.commit(ctx, "The short workflow calls "+c.Version, short...); err != nil {
		return err
	}
	_, err = c.git(ctx, "tag", "--annotate", "--message", "Switchyard "+c.Version, c.Version)
	return err
}

// commit commits some files, and gives the commit.
func (c commitCommand) commit(ctx context.Context, message string, files ...string) (string, error) {
	if _, err := c.git(ctx, append([]string{"commit", "--quiet", "--message", message, "--only", "--"}, files...)...); err != nil {
		return "", err
	}
	return c.git(ctx, "rev-parse", "HEAD")
}

func (c commitCommand) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // our own arguments
	cmd.Dir = c.Source
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", args[0], err, out)
	}
	return strings.TrimSpace(string(out)), nil
}
