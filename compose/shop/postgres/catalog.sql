create table item (id int primary key, name text not null, cents int not null, stock int not null);
insert into item values
    (1, 'Paddle', 4900, 12),
    (2, 'Bailer', 900, 40),
    (3, 'Mast step', 12900, 3),
    (4, 'Crab-claw sail', 38900, 2),
    (5, 'Lashing cord', 700, 120);
