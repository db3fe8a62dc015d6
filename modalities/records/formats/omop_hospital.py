"""The hospital as rows of OMOP: its place, its care sites and its staff; and what a patient has of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, Protocol

from ..data import Resource, value_at
from ..us_core.hospital import HOSPITAL, hospital
from .omop_concepts import Concepts

Row = dict[str, Any]


class Tables(Protocol):
    """Takes rows; omop.Tables."""

    def add(self, table: str, **values: Any) -> int:
        """Add a row; its id."""
        ...


@dataclass(frozen=True)
class Sites:
    """Ids of what all patients share, by reference: `Practitioner/nurse-1` -> provider_id."""

    providers: Mapping[str, int]
    care_sites: Mapping[str, int]

    def provider(self, resource: Resource, path: str) -> int | None:
        """provider_id of whom the resource names at a path; None where it names nobody, or no person."""
        return self.providers.get(value_at(resource, f"{path}.reference", ""))

    def care_site(self, resource: Resource, path: str) -> int | None:
        """care_site_id of the place or organization at a path."""
        return self.care_sites.get(value_at(resource, f"{path}.reference", ""))


def address(resource: Resource, path: str) -> Row:
    """The columns of a location. OMOP's states have two letters, its countries no concept in the bundled lists."""
    own = value_at(resource, path, {})
    country = own.get("country")
    return {
        "address_1": value_at(own, "line.0"),
        "city": own.get("city"),
        "state": own.get("state"),
        "zip": own.get("postalCode"),
        "location_source_value": f"{resource['resourceType']}/{resource['id']}",
        "country_concept_id": Concepts.fixed("country", country or ""),
        "country_source_value": country,
    }


def write_hospital(tables: Tables, concepts: Concepts) -> Sites:
    """The rows that come before all patients: one location, the care sites, the staff."""
    by_kind: dict[str, list[Resource]] = {}
    for resource in hospital():
        by_kind.setdefault(resource["resourceType"], []).append(resource)
    house = next(o for o in by_kind["Organization"] if o["id"] == HOSPITAL)
    location = tables.add("location", **address(house, "address.0"))
    care_sites = {
        f"{place['resourceType']}/{place['id']}": tables.add(
            "care_site",
            care_site_name=place["name"],
            place_of_service_concept_id=0,
            location_id=location,
            care_site_source_value=place["id"],
            place_of_service_source_value=value_at(place, "type.0.coding.0.code"),
        )
        for place in (house, *by_kind["Location"])
    }
    whole = care_sites[f"Organization/{HOSPITAL}"]
    specialties = {
        value_at(r, "practitioner.reference"): r["specialty"][0] for r in by_kind["PractitionerRole"]
    }
    providers = {}
    for person in by_kind["Practitioner"]:
        reference = f"Practitioner/{person['id']}"
        concept, source, code = concepts.of(specialties[reference])
        providers[reference] = tables.add(
            "provider",
            provider_name=f"{value_at(person, 'name.0.given.0')} {value_at(person, 'name.0.family')}",
            specialty_concept_id=concept,
            care_site_id=whole,
            provider_source_value=person["id"],
            specialty_source_value=code,
            specialty_source_concept_id=source,
        )
    return Sites(providers, care_sites)


def payer(coverage: Resource, ends: datetime, concepts: Concepts) -> Row | None:
    """The columns of a payer_plan_period but for the person; None without a start. An open one ends with them all."""
    start, end = value_at(coverage, "period.start"), value_at(coverage, "period.end")
    if start is None:
        return None
    begun = datetime.combine(datetime.fromisoformat(start).date(), time())
    until = ends if end is None else datetime.fromisoformat(end)
    plan, source, code = concepts.of(coverage["type"])
    name = str(value_at(coverage, "payor.0.reference", "")).partition("/")[2]
    return {
        "payer_plan_period_start_date": begun.date(),
        "payer_plan_period_end_date": max(begun, until).date(),
        "payer_concept_id": 0,
        "payer_source_value": name if name.startswith("payer-") else "self",
        "plan_concept_id": plan,
        "plan_source_value": code,
        "plan_source_concept_id": source,
    }
