package plan

import "strings"

// What each type of the table below holds, as the end of a sentence.
const (
	holdsFiles    = "the files in it are gone"
	holdsDatabase = "its data is gone, but for backups that are kept elsewhere"
	holdsSecrets  = "the secrets or keys in it cannot be read any more"
	holdsSecret   = "what uses the old value is locked out until it has the new one"
	holdsDisk     = "what is on the disk is gone"
	holdsCache    = "what is kept in it is gone, and its clients lose their connection"
	holdsCluster  = "everything that runs in it stops, with the volumes that only it knows"
	holdsName     = "others reach things by the names in it"
	holdsAddress  = "others know the address and may have allowed it"
	holdsBackups  = "the backups in it may be gone"
	holdsLogs     = "the logs and metrics in it are gone"
	holdsMessages = "messages that were not read are gone"
	holdsImages   = "the images in it are gone"
	holdsSettings = "the settings in it are gone"
	holdsNetwork  = "what is connected through it loses its network"
	holdsGroup    = "everything that is in it goes with it"
)

// statefulTypes are the types of resources that hold data, or that others depend on by name or address.
// https://registry.terraform.io/providers/hashicorp/azurerm/latest/docs
var statefulTypes = map[string]string{
	"azurerm_resource_group":   holdsGroup,
	"azurerm_subscription":     holdsGroup,
	"azurerm_management_group": holdsGroup,

	"azurerm_storage_account":                   holdsFiles,
	"azurerm_storage_container":                 holdsFiles,
	"azurerm_storage_share":                     holdsFiles,
	"azurerm_storage_share_directory":           holdsFiles,
	"azurerm_storage_share_file":                holdsFiles,
	"azurerm_storage_blob":                      holdsFiles,
	"azurerm_storage_queue":                     holdsMessages,
	"azurerm_storage_table":                     holdsDatabase,
	"azurerm_storage_table_entity":              holdsDatabase,
	"azurerm_storage_data_lake_gen2_filesystem": holdsFiles,
	"azurerm_storage_data_lake_gen2_path":       holdsFiles,
	"azurerm_storage_encryption_scope":          holdsSecrets,
	"azurerm_storage_sync":                      holdsFiles,
	"azurerm_storage_sync_cloud_endpoint":       holdsFiles,
	"azurerm_netapp_account":                    holdsFiles,
	"azurerm_netapp_pool":                       holdsFiles,
	"azurerm_netapp_volume":                     holdsFiles,
	"azurerm_hpc_cache":                         holdsFiles,
	"azurerm_managed_lustre_file_system":        holdsFiles,

	"azurerm_sql_server":                          holdsDatabase,
	"azurerm_sql_database":                        holdsDatabase,
	"azurerm_sql_managed_instance":                holdsDatabase,
	"azurerm_mssql_server":                        holdsDatabase,
	"azurerm_mssql_database":                      holdsDatabase,
	"azurerm_mssql_elasticpool":                   holdsDatabase,
	"azurerm_mssql_managed_instance":              holdsDatabase,
	"azurerm_mssql_managed_database":              holdsDatabase,
	"azurerm_mssql_failover_group":                holdsName,
	"azurerm_mssql_virtual_machine":               holdsDatabase,
	"azurerm_mysql_server":                        holdsDatabase,
	"azurerm_mysql_database":                      holdsDatabase,
	"azurerm_mysql_flexible_server":               holdsDatabase,
	"azurerm_mysql_flexible_database":             holdsDatabase,
	"azurerm_mariadb_server":                      holdsDatabase,
	"azurerm_mariadb_database":                    holdsDatabase,
	"azurerm_postgresql_server":                   holdsDatabase,
	"azurerm_postgresql_database":                 holdsDatabase,
	"azurerm_postgresql_flexible_server":          holdsDatabase,
	"azurerm_postgresql_flexible_server_database": holdsDatabase,
	"azurerm_cosmosdb_account":                    holdsDatabase,
	"azurerm_cosmosdb_sql_database":               holdsDatabase,
	"azurerm_cosmosdb_sql_container":              holdsDatabase,
	"azurerm_cosmosdb_mongo_database":             holdsDatabase,
	"azurerm_cosmosdb_mongo_collection":           holdsDatabase,
	"azurerm_cosmosdb_table":                      holdsDatabase,
	"azurerm_cosmosdb_gremlin_database":           holdsDatabase,
	"azurerm_cosmosdb_gremlin_graph":              holdsDatabase,
	"azurerm_cosmosdb_cassandra_keyspace":         holdsDatabase,
	"azurerm_cosmosdb_cassandra_table":            holdsDatabase,
	"azurerm_cosmosdb_cassandra_cluster":          holdsDatabase,
	"azurerm_cosmosdb_postgresql_cluster":         holdsDatabase,
	"azurerm_mongo_cluster":                       holdsDatabase,
	"azurerm_synapse_workspace":                   holdsDatabase,
	"azurerm_synapse_sql_pool":                    holdsDatabase,
	"azurerm_synapse_spark_pool":                  holdsDatabase,
	"azurerm_kusto_cluster":                       holdsDatabase,
	"azurerm_kusto_database":                      holdsDatabase,
	"azurerm_databricks_workspace":                holdsDatabase,
	"azurerm_data_factory":                        holdsSettings,
	"azurerm_search_service":                      holdsDatabase,
	"azurerm_machine_learning_workspace":          holdsDatabase,
	"azurerm_purview_account":                     holdsDatabase,
	"azurerm_digital_twins_instance":              holdsDatabase,

	"azurerm_key_vault":                                      holdsSecrets,
	"azurerm_key_vault_key":                                  holdsSecrets,
	"azurerm_key_vault_secret":                               holdsSecrets,
	"azurerm_key_vault_certificate":                          holdsSecrets,
	"azurerm_key_vault_managed_hardware_security_module":     holdsSecrets,
	"azurerm_key_vault_managed_hardware_security_module_key": holdsSecrets,
	"azurerm_disk_encryption_set":                            holdsSecrets,

	"azurerm_managed_disk":                           holdsDisk,
	"azurerm_snapshot":                               holdsDisk,
	"azurerm_image":                                  holdsDisk,
	"azurerm_shared_image":                           holdsDisk,
	"azurerm_shared_image_gallery":                   holdsDisk,
	"azurerm_shared_image_version":                   holdsDisk,
	"azurerm_elastic_san":                            holdsDisk,
	"azurerm_elastic_san_volume":                     holdsDisk,
	"azurerm_elastic_san_volume_group":               holdsDisk,
	"azurerm_virtual_machine":                        holdsDisk,
	"azurerm_linux_virtual_machine":                  holdsDisk,
	"azurerm_windows_virtual_machine":                holdsDisk,
	"azurerm_linux_virtual_machine_scale_set":        holdsDisk,
	"azurerm_windows_virtual_machine_scale_set":      holdsDisk,
	"azurerm_orchestrated_virtual_machine_scale_set": holdsDisk,

	"azurerm_redis_cache":               holdsCache,
	"azurerm_redis_enterprise_cluster":  holdsCache,
	"azurerm_redis_enterprise_database": holdsCache,
	"azurerm_managed_redis":             holdsCache,

	"azurerm_kubernetes_cluster":           holdsCluster,
	"azurerm_kubernetes_cluster_node_pool": holdsCluster,
	"azurerm_kubernetes_fleet_manager":     holdsCluster,
	"azurerm_redhat_openshift_cluster":     holdsCluster,
	"azurerm_service_fabric_cluster":       holdsCluster,
	"azurerm_container_app_environment":    holdsCluster,
	"azurerm_app_service_environment_v3":   holdsCluster,

	"azurerm_dns_zone":                              holdsName,
	"azurerm_private_dns_zone":                      holdsName,
	"azurerm_private_dns_resolver":                  holdsName,
	"azurerm_private_dns_zone_virtual_network_link": holdsName,
	"azurerm_traffic_manager_profile":               holdsName,
	"azurerm_frontdoor":                             holdsName,
	"azurerm_cdn_profile":                           holdsName,
	"azurerm_cdn_endpoint":                          holdsName,
	"azurerm_cdn_frontdoor_profile":                 holdsName,
	"azurerm_cdn_frontdoor_endpoint":                holdsName,
	"azurerm_cdn_frontdoor_custom_domain":           holdsName,
	"azurerm_api_management":                        holdsName,

	"azurerm_public_ip":               holdsAddress,
	"azurerm_public_ip_prefix":        holdsAddress,
	"azurerm_private_endpoint":        holdsAddress,
	"azurerm_nat_gateway":             holdsAddress,
	"azurerm_lb":                      holdsAddress,
	"azurerm_application_gateway":     holdsAddress,
	"azurerm_firewall":                holdsAddress,
	"azurerm_virtual_network":         holdsNetwork,
	"azurerm_subnet":                  holdsNetwork,
	"azurerm_virtual_hub":             holdsNetwork,
	"azurerm_virtual_wan":             holdsNetwork,
	"azurerm_virtual_network_gateway": holdsNetwork,
	"azurerm_vpn_gateway":             holdsNetwork,
	"azurerm_express_route_circuit":   holdsNetwork,
	"azurerm_express_route_gateway":   holdsNetwork,

	"azurerm_recovery_services_vault":                            holdsBackups,
	"azurerm_data_protection_backup_vault":                       holdsBackups,
	"azurerm_backup_policy_vm":                                   holdsBackups,
	"azurerm_backup_policy_file_share":                           holdsBackups,
	"azurerm_backup_protected_vm":                                holdsBackups,
	"azurerm_backup_protected_file_share":                        holdsBackups,
	"azurerm_backup_container_storage_account":                   holdsBackups,
	"azurerm_data_protection_backup_instance_blob_storage":       holdsBackups,
	"azurerm_data_protection_backup_instance_disk":               holdsBackups,
	"azurerm_data_protection_backup_instance_postgresql":         holdsBackups,
	"azurerm_data_protection_backup_instance_kubernetes_cluster": holdsBackups,
	"azurerm_site_recovery_replicated_vm":                        holdsBackups,
	"azurerm_site_recovery_fabric":                               holdsBackups,

	"azurerm_log_analytics_workspace":                     holdsLogs,
	"azurerm_application_insights":                        holdsLogs,
	"azurerm_monitor_workspace":                           holdsLogs,
	"azurerm_dashboard_grafana":                           holdsLogs,
	"azurerm_sentinel_log_analytics_workspace_onboarding": holdsLogs,

	"azurerm_servicebus_namespace":    holdsMessages,
	"azurerm_servicebus_queue":        holdsMessages,
	"azurerm_servicebus_topic":        holdsMessages,
	"azurerm_servicebus_subscription": holdsMessages,
	"azurerm_eventhub_namespace":      holdsMessages,
	"azurerm_eventhub":                holdsMessages,
	"azurerm_eventhub_consumer_group": holdsMessages,
	"azurerm_eventgrid_topic":         holdsMessages,
	"azurerm_eventgrid_domain":        holdsMessages,
	"azurerm_eventgrid_system_topic":  holdsMessages,
	"azurerm_iothub":                  holdsMessages,
	"azurerm_iothub_dps":              holdsMessages,
	"azurerm_relay_namespace":         holdsMessages,
	"azurerm_signalr_service":         holdsName,
	"azurerm_web_pubsub":              holdsName,

	"azurerm_container_registry":        holdsImages,
	"azurerm_app_configuration":         holdsSettings,
	"azurerm_app_configuration_key":     holdsSettings,
	"azurerm_app_configuration_feature": holdsSettings,
	"azurerm_automation_account":        holdsSettings,
	"azurerm_static_web_app":            holdsName,
	"azurerm_linux_web_app":             holdsName,
	"azurerm_windows_web_app":           holdsName,
	"azurerm_linux_function_app":        holdsName,
	"azurerm_windows_function_app":      holdsName,
	"azurerm_container_group":           holdsAddress,

	"random_password":                    holdsSecret,
	"random_bytes":                       holdsSecret,
	"tls_private_key":                    holdsSecret,
	"tls_self_signed_cert":               holdsSecret,
	"tls_locally_signed_cert":            holdsSecret,
	"azuread_application_password":       holdsSecret,
	"azuread_service_principal_password": holdsSecret,
	"azuread_application_certificate":    holdsSecret,
	"azurerm_user_assigned_identity":     holdsName,
	"azuread_application":                holdsName,
	"azuread_service_principal":          holdsName,
}

// statefulKind says what a type holds; false when it is not known to hold anything. Records of a DNS zone are a type
// each, by kind.
func statefulKind(kind string) (string, bool) {
	if holds, known := statefulTypes[kind]; known {
		return holds, true
	}
	if strings.HasPrefix(kind, "azurerm_") && strings.Contains(kind, "dns_") && strings.HasSuffix(kind, "_record") {
		return holdsName, true
	}
	return "", false
}

// accessTypes decide who may do what. A name that ends in "*" is the beginning of several.
var accessTypes = []struct{ name, why string }{
	{"azurerm_role_assignment", "It changes who may do what."},
	{"azurerm_role_definition", "It changes what a role may do."},
	{"azurerm_role_management_policy", "It changes who may do what."},
	{"azurerm_pim_*", "It changes who may do what."},
	{"azurerm_marketplace_role_assignment", "It changes who may do what."},
	{"azurerm_key_vault_managed_hardware_security_module_role_*", "It changes who may do what."},
	{"azurerm_cosmosdb_sql_role_*", "It changes who may read or write the data."},
	{"azurerm_key_vault_access_policy", "It changes who may use secrets or keys."},
	{"azurerm_user_assigned_identity", "It changes an identity that others act as."},
	{"azurerm_federated_identity_credential", "It changes who may act as an identity."},
	{"azurerm_lighthouse_*", "It gives people of another tenant access, or takes it."},
	{"azurerm_policy_*", "It changes what a policy allows."},
	{"azurerm_management_group_policy_*", "It changes what a policy allows."},
	{"azurerm_subscription_policy_*", "It changes what a policy allows."},
	{"azurerm_resource_group_policy_*", "It changes what a policy allows."},
	{"azurerm_resource_policy_*", "It changes what a policy allows."},
	{"azurerm_postgresql_flexible_server_active_directory_administrator", "It changes who administers the data."},
	{"azurerm_mysql_flexible_server_active_directory_administrator", "It changes who administers the data."},
	{"azuread_application*", "It changes an identity, or who may act as it."},
	{"azuread_service_principal*", "It changes an identity, or who may act as it."},
	{"azuread_app_role_assignment", "It changes who may do what."},
	{"azuread_directory_role*", "It changes who may do what."},
	{"azuread_custom_directory_role", "It changes what a role may do."},
	{"azuread_group*", "It changes who belongs to a group, and so who may do what."},
	{"azuread_conditional_access_policy", "It changes who may sign in."},
	{"azuread_privileged_access_*", "It changes who may do what."},
	{"aws_iam_*", "It changes who may do what."},
	{"google_*_iam_*", "It changes who may do what."},
	{"google_service_account*", "It changes an identity, or who may act as it."},
	{"kubernetes_role*", "It changes who may do what in the cluster."},
	{"kubernetes_cluster_role*", "It changes who may do what in the cluster."},
	{"github_team*", "It changes who may do what."},
	{"github_repository_collaborator*", "It changes who may do what."},
}

// accessOf says why a type decides who may do what; empty when it does not.
func accessOf(kind string) string {
	for _, access := range accessTypes {
		if matches(access.name, kind) {
			return access.why
		}
	}
	return ""
}

// matches compares a type with a name in which "*" stands for anything.
func matches(name, kind string) bool {
	parts := strings.Split(name, "*")
	rest, ok := strings.CutPrefix(kind, parts[0])
	for i, part := range parts[1:] {
		if !ok {
			return false
		}
		if i == len(parts)-2 {
			return strings.HasSuffix(rest, part)
		}
		_, rest, ok = strings.Cut(rest, part)
	}
	return ok && rest == ""
}

// lockTypes keep others from being changed.
var lockTypes = map[string]bool{"azurerm_management_lock": true}

// protections are attributes that guard what an object holds against mistakes while they are true.
var protections = map[string]bool{
	"purge_protection_enabled": true, "soft_delete_enabled": true, "versioning_enabled": true,
	"deletion_protection": true, "deletion_protection_enabled": true, "enable_deletion_protection": true,
}

// publicSwitches are attributes that open something to the public while they are true, or "Enabled".
var publicSwitches = map[string]bool{
	"public_network_access_enabled": true, "public_network_access": true, "public_network_enabled": true, "public_access_enabled": true,
	"allow_blob_public_access": true, "allow_nested_items_to_be_public": true, "anonymous_pull_enabled": true, "external_enabled": true,
	"internet_ingestion_enabled": true, "internet_query_enabled": true, "public_data_endpoint_enabled": true,
	"publicly_accessible":      true,
	"internet_ingress_enabled": true, "allow_access_from_azure_services": true,
}

// privateSwitches keep something from the public while they are true.
var privateSwitches = map[string]bool{
	"private_cluster_enabled": true, "is_virtual_network_filter_enabled": true, "block_public_acls": true, "block_public_policy": true,
	"internal_load_balancer_enabled": true, "restrict_public_buckets": true,
}
