"""Other values of an SBML file: what a condition of an experiment sets, put in where the file has them."""

from __future__ import annotations

from collections.abc import Mapping

import libsbml

from sbmlump.errors import Reason, UsageError

__all__ = ["with_initial_values"]


def with_initial_values(data: bytes, values: Mapping[str, float]) -> bytes:
    """An SBML document with other values at time 0.

    Parameters
    ----------
    data : bytes
        Level 2 or 3.
    values : mapping of id to float
        Of parameters and compartments, and of species as their ids mean them (concentrations, unless they have
        substance units only). They take the place of attributes and of initial assignments.

    Raises
    ------
    UsageError
        Code ``unknown-id`` for what is none of these.
    """
    document = libsbml.readSBMLFromString(data.decode())
    model = document.getModel()
    unknown: list[Reason] = []
    for name, value in values.items():
        if (parameter := model.getParameter(name)) is not None:
            parameter.setValue(value)
        elif (compartment := model.getCompartment(name)) is not None:
            compartment.setSize(value)
        elif (species := model.getSpecies(name)) is not None:
            species.unsetInitialAmount()
            species.unsetInitialConcentration()
            if species.getHasOnlySubstanceUnits():
                species.setInitialAmount(value)
            else:
                species.setInitialConcentration(value)
        else:
            message = f"{name!r} is no parameter, compartment or species of model {model.getId()}"
            unknown.append(Reason("unknown-id", message, name))
        model.removeInitialAssignment(name)
    if unknown:
        raise UsageError(unknown)
    return str(libsbml.writeSBMLToString(document)).encode()
