# One stamp a region: the same module, other inputs.
module "stamp" {
  source   = "./modules/regional-stamp"
  for_each = var.regions

  name            = "${var.application_name}-${var.environment_name}-${each.key}"
  location        = each.key
  address_space   = each.value.address_space
  instances       = each.value.instances
  request_limit   = var.request_limit
  rollout_seconds = var.rollout_seconds
  cache_tier      = var.cache_tier
}
