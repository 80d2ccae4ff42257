package render_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

var bothRegions = []string{"westeurope", "southeastasia"}

// stampOf is what one region's stamp changes.
func stampOf(region, sku string) []operation.Change {
	prefix := fmt.Sprintf("module.stamp[%q].", region)
	return []operation.Change{
		updated(prefix+"azurerm_redis_cache.main", attribute("sku_name", `"Basic"`, quote(sku)), attribute("family", `"C"`, `"P"`)),
		{Address: prefix + "azurerm_resource_group.main", Action: operation.Create, Attributes: []operation.Attribute{
			attribute("location", "", quote(region)), attribute("name", "", quote("rg-"+region)),
		}},
	}
}

func stamps(changes ...[]operation.Change) *operation.Result {
	all := added("azurerm_dns_zone.main").Changes
	for _, one := range changes {
		all = append(all, one...)
	}
	return result(target("src/terraform", "prod", operation.Planned, changeSet(all...)))
}

func rootIn(region string) operation.TargetResult {
	change := updated("azurerm_redis_cache.main", attribute("tags[\"region\"]", `"x"`, quote(region)))
	return target("src/"+region, "prod", operation.Planned, changeSet(change))
}

func parityTexts() map[string]string {
	show := func(r *operation.Result, regions ...string) string {
		op := planOperation(operation.Succeeded, r)
		op.Environment = "prod"
		return render.PullComment(with(pull(op), func(v *render.PullView) { v.Regions = regions }))
	}
	other := stampOf("southeastasia", "Premium")
	other[0].Action, other[0].ReplacePaths = operation.Replace, []string{"sku_name"}
	create := stampOf("southeastasia", "Premium")[1:]
	return map[string]string{
		"plan of stamps that are alike":  show(stamps(stampOf("westeurope", "Premium"), stampOf("southeastasia", "Premium")), bothRegions...),
		"plan of stamps that differ":     show(stamps(stampOf("westeurope", "Premium"), other), bothRegions...),
		"plan of stamps of other values": show(stamps(stampOf("westeurope", "Premium"), stampOf("southeastasia", "Standard")), bothRegions...),
		"plan of a new stamp":            show(stamps(create), bothRegions...),
		"plan of one stamp only":         show(stamps(stampOf("westeurope", "Premium")), bothRegions...),
		"plan of roots that are alike":   show(result(rootIn("westeurope"), rootIn("southeastasia"), target("src/dns", "prod", operation.Unchanged, operation.ChangeSet{})), bothRegions...),
	}
}

func TestEachStampIsShownOrNamedAndNothingElseIsLeftOut(t *testing.T) {
	t.Parallel()
	comment := parityTexts()["plan of stamps that are alike"]
	for _, want := range []string{
		"+ azurerm_dns_zone.main", `! module.stamp["westeurope"].azurerm_redis_cache.main`, `+ module.stamp["westeurope"].azurerm_resource_group.main`,
		"# the same in southeastasia:", `# module.stamp["southeastasia"]: the same 2 changes as module.stamp["westeurope"]`,
	} {
		if strings.Count(comment, want) != 1 {
			t.Errorf("%q is there %d times", want, strings.Count(comment, want))
		}
	}
	if strings.Contains(comment, "identical") {
		t.Error("it complains of stamps that are alike")
	}
}

func TestWhatADestroyIsIsNeverShownByNamingAnother(t *testing.T) {
	t.Parallel()
	gone := func(region string) []operation.Change {
		return []operation.Change{{Address: fmt.Sprintf("module.stamp[%q].azurerm_redis_cache.main", region), Action: operation.Delete}}
	}
	op := planOperation(operation.Succeeded, stamps(gone("westeurope"), gone("southeastasia")))
	comment := render.PullComment(with(pull(op), func(v *render.PullView) { v.Regions = bothRegions }))
	for _, region := range bothRegions {
		if !strings.Contains(comment, fmt.Sprintf("− `module.stamp[%q].azurerm_redis_cache.main`", region)) {
			t.Errorf("what is destroyed in %s is not listed", region)
		}
	}
}
