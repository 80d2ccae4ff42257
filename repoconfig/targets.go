package repoconfig

import (
	"path"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// Targets are what a runner is told of roots in one environment, in file order. repository is the name that stands for the
// application where the file gives none.
func (c Config) Targets(environment, repository string, roots []string) []operation.TargetTask {
	application := c.Application
	if application == "" {
		application = repository
	}
	var targets []operation.TargetTask
	for _, root := range c.Roots {
		if !slices.Contains(roots, root.Dir) {
			continue
		}
		targets = append(targets, operation.TargetTask{
			Target: operation.Target{Root: root.Dir, Environment: environment}, Dir: root.Dir,
			VarFiles: root.VarFilesFor(environment), Backend: root.BackendFor(application, environment),
			Vars: map[string]string{"application_name": application, "environment_name": environment},
		})
	}
	return targets
}

// Touched says why a root has to be planned in an environment when these files changed; "" when it has not. dirs are the root's own
// directory and those of the local modules that it uses.
func (r Root) Touched(environment string, dirs, files []string) string {
	for _, name := range r.VarFilesFor(environment) {
		file := path.Join(r.Dir, name)
		if slices.Contains(files, file) {
			return "its variable file " + file + " changed"
		}
	}
	for i, dir := range dirs {
		for _, file := range files {
			if !within(file, dir) || r.ofOther(environment, file) {
				continue
			}
			if i == 0 {
				return file + " changed"
			}
			return "its module " + dir + " changed"
		}
	}
	return ""
}

func within(file, dir string) bool {
	return dir == "." || strings.HasPrefix(file, dir+"/")
}

// ofOther reports whether a file is one of the root's variable files, but not of this environment.
func (r Root) ofOther(environment, file string) bool {
	for _, pattern := range r.VarFiles {
		if !strings.Contains(pattern, placeholderEnvironment) {
			continue
		}
		if Match(path.Join(r.Dir, strings.ReplaceAll(pattern, placeholderEnvironment, "*")), file) {
			return !slices.ContainsFunc(r.VarFilesFor(environment), func(name string) bool {
				return path.Join(r.Dir, name) == file
			})
		}
	}
	return false
}
