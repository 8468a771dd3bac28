"""The rows of what extends the API: webhooks, policies, custom resources and aggregated APIs."""

from kubelite.api.kinds import admissionregistration, apiextensions, apiregistration
from kubelite.api.machinery import names
from kubelite.api.machinery.columns import extensions as extensions_columns
from kubelite.api.machinery.defaults import admissionregistration as admissionregistration_defaults
from kubelite.api.machinery.defaults import extensions as extensions_defaults
from kubelite.api.registry.builtin.row import EXTENSIONS, row
from kubelite.api.registry.rules import admission_policies as policy_rules
from kubelite.api.registry.rules import extensions as extensions_rules
from kubelite.api.registry.rules import mutating_policies as mutating_rules
from kubelite.api.registry.rules.sets import COMPILING, Rules, Warnings, always
from kubelite.api.registry.rules.values import JSON, Out
from kubelite.api.registry.rules.warnings import cluster as cluster_warnings
from kubelite.api.registry.strategies.api_services import APIServiceStrategy
from kubelite.api.registry.strategies.definitions import DefinitionStrategy
from kubelite.api.registry.strategy import Conduct

STATIC = always(cluster_warnings.static_name)

APISERVICES = (
    row(
        apiregistration.APIService,
        "apiservices",
        "status",
        cluster=True,
        categories=EXTENSIONS,
        rules=Rules(
            extensions_rules.api_service,
            validate_status_update=extensions_rules.api_service_status,
            name=names.path_segment,  # that of the core group is named "v1."
        ),
        defaults=extensions_defaults.default_api_service,
        layout=extensions_columns.API_SERVICE,
        strategy=APIServiceStrategy,
        conduct=Conduct(conditional=True),
    ),
)

ADMISSION = (
    row(
        admissionregistration.MutatingAdmissionPolicy,
        "mutatingadmissionpolicies",
        cluster=True,
        categories=EXTENSIONS,
        rules=Rules(
            mutating_rules.mutating_policy,
            mutating_rules.mutating_policy_update,
            passes=COMPILING,
        ),
        warnings=STATIC,
        defaults=admissionregistration_defaults.default_policy,
        layout=extensions_columns.MUTATING_ADMISSION_POLICY,
        conduct=Conduct(counts_generation=True, conditional=True),
    ),
    row(
        admissionregistration.MutatingAdmissionPolicyBinding,
        "mutatingadmissionpolicybindings",
        cluster=True,
        categories=EXTENSIONS,
        rules=Rules(mutating_rules.mutating_binding),
        warnings=STATIC,
        defaults=admissionregistration_defaults.default_policy_binding,
        layout=extensions_columns.POLICY_BINDING,
        conduct=Conduct(counts_generation=True, conditional=True),
    ),
    row(
        admissionregistration.MutatingWebhookConfiguration,
        "mutatingwebhookconfigurations",
        cluster=True,
        categories=EXTENSIONS,
        rules=Rules(extensions_rules.webhooks, passes=COMPILING),
        warnings=STATIC,
        defaults=admissionregistration_defaults.default_mutating_webhooks,
        layout=extensions_columns.WEBHOOKS,
        conduct=Conduct(counts_generation=True, conditional=True),
    ),
    row(
        admissionregistration.ValidatingAdmissionPolicy,
        "validatingadmissionpolicies",
        "status",
        cluster=True,
        categories=EXTENSIONS,
        rules=Rules(
            policy_rules.validating_policy, policy_rules.validating_policy_update, passes=COMPILING
        ),
        warnings=STATIC,
        defaults=admissionregistration_defaults.default_policy,
        layout=extensions_columns.VALIDATING_ADMISSION_POLICY,
        conduct=Conduct(counts_generation=True, conditional=True),
    ),
    row(
        admissionregistration.ValidatingAdmissionPolicyBinding,
        "validatingadmissionpolicybindings",
        cluster=True,
        categories=EXTENSIONS,
        rules=Rules(policy_rules.policy_binding),
        warnings=STATIC,
        defaults=admissionregistration_defaults.default_policy_binding,
        layout=extensions_columns.POLICY_BINDING,
        conduct=Conduct(counts_generation=True, conditional=True),
    ),
    row(
        admissionregistration.ValidatingWebhookConfiguration,
        "validatingwebhookconfigurations",
        cluster=True,
        categories=EXTENSIONS,
        rules=Rules(extensions_rules.webhooks, passes=COMPILING),
        warnings=STATIC,
        defaults=admissionregistration_defaults.default_validating_webhooks,
        layout=extensions_columns.WEBHOOKS,
        conduct=Conduct(counts_generation=True, conditional=True),
    ),
)


# What checks schemas is large; it is imported when the first definition is written.


def _definition(thing: JSON) -> Out:
    from kubelite.api.registry.rules.custom_definitions import custom_definition

    return custom_definition(thing)


def _definition_update(new: JSON, old: JSON) -> Out:
    from kubelite.api.registry.rules import custom_definition_updates

    return custom_definition_updates.custom_definition_update(new, old)


def _definition_status_update(new: JSON, old: JSON) -> Out:
    from kubelite.api.registry.rules import custom_definition_updates

    return custom_definition_updates.custom_definition_status_update(new, old)


CUSTOM = (
    row(
        apiextensions.CustomResourceDefinition,
        "customresourcedefinitions",
        "status",
        cluster=True,
        short=("crd", "crds"),
        categories=EXTENSIONS,
        rules=Rules(
            _definition,
            _definition_update,
            _definition_status_update,
            passes=COMPILING,
        ),
        warnings=Warnings(
            cluster_warnings.custom_resource, cluster_warnings.custom_resource_update
        ),
        defaults=extensions_defaults.default_custom_resource_definition,
        strategy=DefinitionStrategy,
        conduct=Conduct(counts_generation=True, conditional=True),
    ),
)
