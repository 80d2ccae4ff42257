package repoconfig

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// moduleForm is owner/name of a repository, as GitHub allows it.
var moduleForm = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/[A-Za-z0-9._-]{1,100}$`)

// modules checks the repositories of private modules.
func (v *validator) modules() {
	for i, name := range v.file.Modules {
		where := fmt.Sprintf("modules[%d]", i)
		_, repo, _ := strings.Cut(name, "/")
		switch {
		case name == "": // said where it was decoded
		case !moduleForm.MatchString(name) || repo == "." || repo == ".." || strings.HasSuffix(repo, ".git"):
			v.problemf(v.at(where), "`%s` is %s. Write the repository as owner/name, for example acme/terraform-azurerm-stamp.",
				show(where), quote(name))
		case slices.ContainsFunc(v.file.Modules[:i], func(other string) bool { return strings.EqualFold(other, name) }):
			v.problemf(v.at(where), "`%s` %s is there twice. Remove one.", show(where), quote(name))
		}
	}
	v.config.Modules = v.file.Modules
}
