"""Tells rclpy about the parameters of `parameters.Settings`, and keeps the settings up to date."""

from __future__ import annotations

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from sparse4d_ros.errors import UserError
from sparse4d_ros.node import parameters
from sparse4d_ros.node.settings import Settings


class ParameterServer:
    """Declares all parameters on a node, refuses wrong ones and unknown ones.

    The node must have been made with ``automatically_declare_parameters_from_overrides``: that is
    how a misspelt name in a parameter file comes to light instead of being ignored.
    """

    def __init__(self, node: Node) -> None:
        """UserError naming the first parameter that is unknown or wrong."""
        self._node = node
        given = {name: parameter.value for name, parameter in node.get_parameters_by_prefix("").items()
                 if name not in parameters.ROS_PARAMETERS and not name.startswith(parameters.ROS_PREFIXES)}
        #: The values in force. Replaced as a whole, never changed in place.
        self.settings: Settings = parameters.settings_from(given)
        for name in given:
            node.undeclare_parameter(name)
        for name, value in self._values().items():
            value = list(value) if isinstance(value, tuple) else value
            node.declare_parameter(name, value, _descriptor(name), ignore_override=True)
        if hasattr(node, "add_post_set_parameters_callback"):
            node.add_on_set_parameters_callback(self._check)
            node.add_post_set_parameters_callback(self._apply)
        else:  # Humble
            node.add_on_set_parameters_callback(self._check_and_apply)

    def _values(self) -> dict[str, object]:
        """Every parameter with its value; of one per camera or class, those that were given."""
        values = {}
        for item in parameters.FIELDS:
            spec, value = item.metadata["spec"], getattr(self.settings, item.name)
            if spec.per:
                values |= {f"{spec.name}.{member}": one for member, one in value.items()}
            else:
                values[spec.name] = value
        return values

    def _check(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            parameters.settings_from(self._values() | _ours(changes))
        except UserError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply(self, changes: list[Parameter]) -> None:
        self.settings = parameters.settings_from(self._values() | _ours(changes))

    def _check_and_apply(self, changes: list[Parameter]) -> SetParametersResult:
        result = self._check(changes)
        if result.successful:
            self._apply(changes)
        return result


def _ours(changes: list[Parameter]) -> dict[str, object]:
    return {change.name: change.value for change in changes if parameters.field_of(change.name) is not None}


def _descriptor(name: str) -> ParameterDescriptor:
    found = parameters.field_of(name)
    spec, kind = found.metadata["spec"], found.metadata["type"]
    descriptor = ParameterDescriptor(description=spec.description, read_only=parameters.read_only(name))
    if spec.choices:
        descriptor.additional_constraints = f"one of {', '.join(spec.choices)}"
    if spec.low is not None and kind is float:
        descriptor.floating_point_range = [FloatingPointRange(from_value=spec.low, to_value=spec.high)]
    elif spec.low is not None:
        descriptor.integer_range = [IntegerRange(from_value=int(spec.low), to_value=int(spec.high), step=1)]
    return descriptor
